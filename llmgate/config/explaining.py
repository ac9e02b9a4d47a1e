"""What is wrong with a configuration, said so that it can be put right.

One line a problem: where (`routes.smart.deployments[1].weight`), what is wrong, what to write instead, and the nearest
right spelling. All problems of a configuration are told at once, in the order of their places. A value that may be a
key, or that came out of an environment variable, is never shown.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from ..errors import ConfigError
from ..types.units import shown

__all__ = [
    "Finding",
    "Problems",
    "at",
    "explain_validation",
    "holds_secret",
    "nearest",
    "refusal",
    "restated",
    "suggestion",
]

NEAR = 0.6  # of 1; difflib's own default: one letter in four may be wrong
LISTED_MAX = 12  # names; a longer list helps nobody to find the right one

_SECRET_NAME = re.compile(
    r"(^|[_-])(api[_-]?keys?|keys?|secrets?|passwords?|authorization|credentials?|cookies?|headers|"
    r"(access|auth|bearer|api|session|id|refresh)[_-]token)$|^token$",
    re.IGNORECASE,
)
_PLAIN_KEY = re.compile(r"[\w*/:@-]+")
_SHOULD = re.compile(r"^\w+ should")
_QUOTED = re.compile(r"'([^']*)'")

HIDDEN_MIN = 8  # characters; what is shorter is hardly a key, and stands inside of innocent words

Location = tuple[str | int, ...]
Finding = tuple[Location, Any, str]
"""Place, the value there, and what is wrong with it."""


def at(path: str, *parts: str | int) -> str:
    """The path of something inside: `at("routes.fast", "deployments", 1)` is `routes.fast.deployments[1]`."""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{shown(part)}]"
    return path


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that was most likely meant, or None if none is near."""
    spelled = {_plain(option): option for option in options}
    close = difflib.get_close_matches(_plain(word), spelled, n=1, cutoff=NEAR)
    return spelled[close[0]] if close else None


def _plain(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def suggestion(word: str, options: Iterable[str]) -> str:
    """What to write instead of a word nobody knows: the nearest option, or all of them if they are few."""
    options = sorted(options)
    if near := nearest(word, options):
        return f'did you mean "{near}"?'
    return f"known are {', '.join(options)}" if 0 < len(options) <= LISTED_MAX else "see the documentation"


def holds_secret(path: Location) -> bool:
    """Whether what stands at this place, or around it, is named like a key."""
    return any(isinstance(part, str) and _SECRET_NAME.search(part) for part in path)


class Problems:
    """Collects what is wrong, to tell it all at once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[Any, ...]] = {}

    def add(self, path: str, text: str, order: Location = ()) -> None:
        """
        Args:
            path: Where, as `at` writes it.
            text: What is wrong and what to do, in one sentence.
            order: The place in parts, so that `[2]` comes before `[10]`.
        """
        parts: Location = order or (path,)
        self._found.setdefault((path, text), tuple((isinstance(part, str), part) for part in parts))

    def raise_any(self) -> None:
        if error := self.error():
            raise error

    def error(self) -> ConfigError | None:
        """One error for all problems, None if there are none."""
        if not self._found:
            return None
        found = sorted(self._found, key=lambda problem: (self._found[problem], problem))
        if len(found) == 1:
            path, text = found[0]
            return ConfigError(text, path=path)
        lines = "".join(f"\n  {path}: {text}" if path else f"\n  {text}" for path, text in found)
        return ConfigError(f"the configuration has {len(found)} problems:{lines}")


def explain_validation(
    error: ValidationError,
    prefix: str = "",
    *,
    model: type[BaseModel] | None = None,
    given: Any = None,
    hidden: Mapping[str, str] | None = None,
) -> ConfigError:
    """
    Pydantic's findings as one `ConfigError`, a line each, sorted by path.

    Args:
        prefix: Path of the validated value in the whole configuration.
        model: What it was validated as; knows the right names of misspelt options.
        given: The value as the user wrote it. With it, paths lead through what stands in the file and not through
            the long form that a short one stands for.
        hidden: Texts that must not be shown, and what to show in their place.
    """
    problems = Problems()
    hidden = hidden or {}
    for details, location, value in _telling([(details, *_place(details, given)) for details in error.errors()]):
        text = _sentence(details, value, model)
        reference = next((hidden[secret] for secret in hidden if secret and secret in str(value)), None)
        if reference is not None or holds_secret(location):
            text = text.replace(shown(value), reference or "the value")
        for secret, reference in hidden.items():
            text = text.replace(secret, reference) if len(secret) >= HIDDEN_MIN else text
        problems.add(at(prefix, *location), text, location)
    return problems.error() or ConfigError(error.title, path=prefix)


def _telling(found: list[tuple[ErrorDetails, Location, Any]]) -> list[tuple[ErrorDetails, Location, Any]]:
    """
    The errors without those that only follow from others.

    Of a union every branch complains: the one that looked deepest knows best, and `is not a list` says nothing
    where another branch took the value for what it is. A list all of whose entries are wrong is not too short.
    """
    inside = {location[:depth] for _, location, _ in found for depth in range(len(location))}
    deepest = [one for one in found if one[1] not in inside]
    told = {location for details, location, _ in deepest if not _is_weak(details)}
    return [one for one in deepest if not _is_weak(one[0]) or one[1] not in told]


def _is_weak(details: ErrorDetails) -> bool:
    return details["type"].endswith("_type") or details["type"] == "too_short"


def _place(details: ErrorDetails, given: Any) -> tuple[Location, Any]:
    """
    Where in what the user wrote the error is, and the value that stands there.

    Pydantic's own place also names the branch of a union it tried and the parts of a long form; those are not
    in the file.
    """
    if given is None:
        return details["loc"], details["input"]
    location: list[str | int] = []
    node = given
    for part in details["loc"]:
        inner = _step(node, part)
        if inner is not _NOWHERE:
            node = inner
            location.append(part)
    if details["type"] == "missing":
        location.append(details["loc"][-1])
    # A collection is shown as what it became: the error may be about one part of a short form.
    return tuple(location), details["input"] if isinstance(node, (Mapping, list, tuple)) else node


_NOWHERE = object()


def _step(node: Any, part: str | int) -> Any:
    if isinstance(node, Mapping):
        return node.get(part, _NOWHERE)
    if isinstance(part, int) and isinstance(node, (list, tuple)) and part < len(node):
        return node[part]
    return _NOWHERE


# What to say instead of pydantic's own words, by the type of its error.
_WORDS: Mapping[str, str] = {
    "bool_parsing": "{value} is neither true nor false",
    "bool_type": "{value} is neither true nor false",
    "dict_type": "{value} is not a mapping; write `key: value` pairs",
    "finite_number": "{value} is not a finite number",
    "float_parsing": "{value} is not a number",
    "float_type": "{value} is not a number",
    "frozen_set_type": "{value} is not a list; write [one, two]",
    "greater_than": "{value} is too small; it must be greater than {gt}",
    "greater_than_equal": "{value} is too small; it must be at least {ge}",
    "int_from_float": "{value} is not a whole number",
    "int_parsing": "{value} is not a whole number",
    "int_type": "{value} is not a whole number",
    "less_than": "{value} is too large; it must be less than {lt}",
    "less_than_equal": "{value} is too large; it must be at most {le}",
    "list_type": "{value} is not a list; write [one, two]",
    "missing": "is missing; it has no default",
    "model_attributes_type": "{value} is not a mapping; write `key: value` pairs",
    "model_type": "{value} is not a mapping; write `key: value` pairs",
    "string_type": "{value} is not a text; put it in quotes",
    "too_short": "too few; {min_length} or more must be given",
    "tuple_type": "{value} is not a list; write [one, two]",
}


def _sentence(details: ErrorDetails, value: Any, model: type[BaseModel] | None) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(details["loc"][-1])
        return f"unknown option; {suggestion(name, _names(model, details['loc'][:-1]))}"
    if kind in ("literal_error", "enum"):
        options = _QUOTED.findall(str(context.get("expected", "")))
        return f"{shown(value)} is not an option; {suggestion(str(value), options)}"
    if kind == "union_tag_invalid":
        tag, tags = str(context["tag"]), _QUOTED.findall(str(context["expected_tags"]))
        return f"{shown(tag)} is not an option; {suggestion(tag, tags)}"
    if words := _WORDS.get(kind):
        bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in context.items()}
        return words.format(value=shown(value), **bounds)
    return _SHOULD.sub("must", details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, "))


def restated(error: ValidationError, model: type[BaseModel], given: Any) -> ValidationError:
    """
    The same findings with our sentences in place of pydantic's, while it is known what was validated.

    A validator raises it where the class of a section hangs on a value inside of it.
    """
    found = _telling([(details, *_place(details, given)) for details in error.errors()])
    return refusal(*((location, value, _sentence(details, value, model)) for details, location, value in found))


def refusal(*findings: Finding) -> ValidationError:
    """What a validator raises to name places inside of the value it was given."""
    return ValidationError.from_exception_data(
        "configuration",
        [
            InitErrorDetails(type=PydanticCustomError("refused", "{text}", {"text": text}), loc=place, input=value)
            for place, value, text in findings
        ],
    )


def _names(model: type[BaseModel] | None, location: Location) -> list[str]:
    """The options known at a place of the model."""
    kinds: list[Any] = [model] if model is not None else []
    for part in location:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return sorted({name for kind in kinds for branch in _branches(kind) for name in _fields(branch)})


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """What may stand at `part` of something annotated so. A label of pydantic's own leads nowhere and stays here."""
    inner: list[Any] = []
    for branch in _branches(annotation):
        origin, arguments = get_origin(branch), get_args(branch)
        fields = _fields(branch)
        if isinstance(part, str) and part in fields:
            inner.append(fields[part].annotation)
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            inner.append(arguments[1])
        elif isinstance(origin, type) and issubclass(origin, Sequence) and isinstance(part, int):
            inner.append(arguments[0])
    return inner or [annotation]


def _branches(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        return [branch for argument in get_args(annotation) for branch in _branches(argument)]
    if hasattr(annotation, "__metadata__"):
        return _branches(annotation.__origin__)
    return [annotation]


def _fields(annotation: Any) -> Mapping[str, FieldInfo]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in annotation.model_fields.items()}
