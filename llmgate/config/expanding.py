"""`${VAR}` in texts becomes the value of an environment variable.

`${VAR}` must be set, `${VAR:-default}` falls back when it is unset or empty (as in a POSIX shell), `$$` is a dollar
sign. A dollar before anything else means itself, so `$25` needs no care. Only values are expanded, never keys, and a
value that was put in is not expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .explaining import Problems, at

__all__ = ["expand"]

_REFERENCE = re.compile(r"\$(?:(\$)|\{([^{}]*)(\}?))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def expand(value: Any, env: Mapping[str, str], *, path: str = "", used: dict[str, str] | None = None) -> Any:
    """
    A copy of `value` with the references in its texts replaced.

    Args:
        value: Mappings, lists and scalars, as a configuration file holds them.
        env: The variables, usually `os.environ`.
        path: Where in the configuration `value` stands, for messages.
        used: Filled with every value that was put in and the reference it came from, so that an error
            can name the reference and not show the value.

    Raises:
        ConfigError: For every variable that is unset and has no default, and every malformed reference.
    """
    problems = Problems()
    expanded = _expanded(value, env, path, {} if used is None else used, problems)
    problems.raise_any()
    return expanded


def _expanded(value: Any, env: Mapping[str, str], path: str, used: dict[str, str], problems: Problems) -> Any:
    if isinstance(value, Mapping):
        return {key: _expanded(item, env, at(path, key), used, problems) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_expanded(item, env, at(path, index), used, problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def put_in(match: re.Match[str]) -> str:
        dollar, reference, end = match.groups()
        if dollar:
            return "$"
        name, has_default, default = reference.partition(":-")
        if not end or not _NAME.fullmatch(name):
            problems.add(path, "a reference is written ${NAME} or ${NAME:-default}; a plain dollar before { is $$")
            return ""
        found = env.get(name)
        if found is None and not has_default:
            problems.add(path, f"the environment variable {name} is not set; set it or write ${{{name}:-default}}")
            return ""
        if found or not has_default:
            used[found or ""] = f"${{{name}}}"
            return found or ""
        return default

    return _REFERENCE.sub(put_in, value)
