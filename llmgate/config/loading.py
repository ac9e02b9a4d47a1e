"""Text to plain values: YAML, JSON and TOML, read strictly.

YAML is read with PyYAML's parser and the core schema of YAML 1.2: only `true` and `false` are booleans, so the country
`no`, the key `on`, the date `2026-11-20` and the version `1_0` stay the texts they look like. Whatever one reader of
YAML takes differently from the next is refused with its line: aliases, tags, duplicate keys, a second document. So a
file means what it seems to mean, and an alias bomb has nothing to go off.

No message holds a piece of the file, because the file may hold keys.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ConfigError

__all__ = ["load_file", "load_json", "load_toml", "load_yaml"]

FILE_MAX_BYTES = 2**20  # 1 MiB; the largest configurations written by hand are a hundredth of it
INTEGER_MAX_DIGITS = 400  # Python refuses above 4300, and no float reaches 310
DEPTH_MAX = 64  # levels of nesting; the deepest option stands at the seventh

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")  # 007 is more likely a name than a number
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def load_file(path: str | Path) -> dict[str, Any]:
    """
    Read a configuration file; its ending (`.yaml`, `.yml`, `.json`, `.toml`) tells the language.

    Raises:
        ConfigError: If it cannot be read, is larger than 1 MiB or not a mapping in its language.
    """
    path = Path(path)
    load = _LOADERS.get(path.suffix.lower())
    if load is None:
        raise ConfigError(f"{path} is no file llmgate can read; its name ends in .yaml, .yml, .json or .toml")
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    return load(_decoded(data, str(path)), str(path))


def load_yaml(text: str | bytes, source: str = "the YAML text") -> dict[str, Any]:
    """
    Read one YAML document; an empty one is an empty mapping.

    Args:
        source: Name of the text in error messages.

    Raises:
        ConfigError: If it is no mapping, larger than 1 MiB, or holds an alias, a tag, a duplicate key or a second
            document; the message names the line.
    """
    import yaml

    text = _decoded(text, source)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _mapping(_Builder(source).build(text, loader), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ConfigError(f"{source}, {where}: {error.problem or error.context or 'not YAML'}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{source} holds a character that YAML does not allow") from None


def load_json(text: str | bytes, source: str = "the JSON text") -> dict[str, Any]:
    """
    Read a JSON object.

    Raises:
        ConfigError: If it is no object, larger than 1 MiB, or holds a duplicate key, NaN or Infinity.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(f'{source}: the key "{key}" stands twice in one object')
            found[key] = value
        return found

    def refuse(constant: str) -> NoReturn:
        raise ConfigError(f"{source}: {constant} is not JSON")

    try:
        value = json.loads(_decoded(text, source), object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}, line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError:
        raise ConfigError(f"{source} holds a number of more than 4300 digits") from None
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply") from None
    return _mapping(value, source)


def load_toml(text: str | bytes, source: str = "the TOML text") -> dict[str, Any]:
    """
    Read a TOML document.

    Raises:
        ConfigError: If it is not TOML or larger than 1 MiB.
    """
    try:
        return tomllib.loads(_decoded(text, source))
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply") from None


_LOADERS: Mapping[str, Callable[[str, str], dict[str, Any]]] = {
    ".yaml": load_yaml,
    ".yml": load_yaml,
    ".json": load_json,
    ".toml": load_toml,
}


def _decoded(text: str | bytes, source: str) -> str:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > FILE_MAX_BYTES:
        raise ConfigError(f"{source} is larger than 1 MiB; that is no configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}, line {line}: not UTF-8; save the file as UTF-8") from None


def _mapping(value: Any, source: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = "list" if isinstance(value, list) else "single value"
        raise ConfigError(f"{source} holds a {kind}; write sections like `providers:` at its top level")
    return value


class _Builder:
    """Plain values out of the parser's events, with no recursion and no resolver of YAML 1.1."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: list[_Open] = []
        self.document: Any = None
        self.documents = 0

    def build(self, text: str, loader: Any) -> Any:
        import yaml

        for event in yaml.parse(text, Loader=loader):
            if getattr(event, "tag", None) is not None:
                self.refuse(event, "tags (!name) are refused; put a text in quotes instead")
            match event:
                case yaml.AliasEvent():
                    self.refuse(event, "aliases (*name) are refused; write the value out")
                case yaml.ScalarEvent():
                    self.place(event, event.value, plain=event.implicit[0])
                case yaml.MappingStartEvent():
                    self.begin(event, {})
                case yaml.SequenceStartEvent():
                    self.begin(event, [])
                case yaml.CollectionEndEvent():
                    self.place(event, self.open.pop().value)
                case yaml.DocumentStartEvent():
                    self.documents += 1
                    if self.documents > 1:
                        self.refuse(event, "a second document begins; keep one in a file")
        return self.document

    def begin(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        if self.open and self.open[-1].awaits_key:
            self.refuse(event, "a key must be a plain text")
        if len(self.open) == DEPTH_MAX:
            self.refuse(event, f"nested deeper than {DEPTH_MAX} levels")
        self.open.append(_Open(value))

    def place(self, event: Any, value: Any, plain: bool = False) -> None:
        """Put a finished value where it belongs: into the collection that is open, or on top."""
        parent = self.open[-1] if self.open else None
        if parent is not None and parent.awaits_key:
            self.key(event, parent, value, plain)
            return
        if plain:
            value = _resolved(value)
        if parent is None:
            self.document = value
        elif isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is not None:
            parent.value[parent.key] = value
            parent.key = None

    def key(self, event: Any, parent: _Open, key: str, plain: bool) -> None:
        # A key is the text it is written as: `on`, `1` and `null` name themselves.
        if key in parent.lines:
            self.refuse(event, f'the key "{key}" stands already in line {parent.lines[key]}')
        if plain and key == "<<":
            self.refuse(event, "merge keys (<<) are refused; write the keys out")
        parent.lines[key] = event.start_mark.line + 1
        parent.key = key

    def refuse(self, event: Any, problem: str) -> NoReturn:
        raise ConfigError(f"{self.source}, line {event.start_mark.line + 1}: {problem}")


class _Open:
    """A list or mapping whose end has not come."""

    __slots__ = ("key", "lines", "value")

    def __init__(self, value: dict[str, Any] | list[Any]) -> None:
        self.value = value
        self.key: str | None = None
        self.lines: dict[str, int] = {}

    @property
    def awaits_key(self) -> bool:
        return self.key is None and isinstance(self.value, dict)


def _resolved(text: str) -> Any:
    """What a plain scalar means in the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#1032-tag-resolution)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text) and len(text) < INTEGER_MAX_DIGITS:
        return int(text, 0)
    return float(text) if _DECIMAL.fullmatch(text) else text
