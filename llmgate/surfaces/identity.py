"""What tells calls of wrapped functions apart, for whoever keeps their results.

Two calls are one question if the same function gets the same arguments. Whether two functions are the same is clear for
one that stands in a module: its place and its code say it, in every process and after every start. What is made anew
each time (closures, bound methods, partials, objects that can be called) is the same as nothing but itself: its results
are given again to callers of the same wrapped function, and to nobody else.

An argument counts as what JSON makes of it; one that JSON would change (an object, a set, a key that is no text) has no
such form, and a call with it is not kept.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import uuid
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_type_hints

__all__ = ["Arguments", "exact", "identity_of", "name_of", "standing_for"]

DIGEST_BYTES = 8  # of the code; it keeps versions of one function apart, not functions of the whole world

_ATOMS = frozenset({str, int, float, bool, type(None)})
_TUPLE = "\0tuple"  # no argument of JSON is likely to have such a key; one that has is not kept


def name_of(function: Callable[..., Any]) -> str:
    """Where a function stands, `module.qualified_name`."""
    inner = _within_partials(function)
    module = getattr(inner, "__module__", None) or type(inner).__module__
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def standing_for(function: Callable[..., Any], made: FunctionType) -> FunctionType:
    """
    The function that was made, with name, documentation, signature and annotations of the one in whose place it stands.

    Partials and objects that can be called have their own words for these, or none: theirs are those of what they call.
    """
    plain = inspect.isroutine(function)
    functools.update_wrapper(made, function, updated=("__dict__",) if plain else ())
    if plain and hasattr(function, "__annotations__"):
        return made
    made.__annotations__ = _hints(function)
    if not hasattr(function, "__name__"):
        inner = _within_partials(function)
        named = inner if hasattr(inner, "__qualname__") else type(inner)
        made.__name__, made.__qualname__, made.__module__ = named.__name__, named.__qualname__, named.__module__
        if inner is not function and "__doc__" not in vars(function):
            made.__doc__ = inner.__doc__
    return made


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations, resolved, because of what is no function nobody could tell where to look the names up."""
    inner = _within_partials(function)
    made = inner if inspect.isclass(inner) else None
    if not inspect.isroutine(inner):
        inner = inner.__init__ if made is not None else type(inner).__call__
    try:
        taken = {*inspect.signature(function).parameters, "return"}
        hints = get_type_hints(inner, include_extras=True)
    except (AttributeError, NameError, TypeError, ValueError):
        return {}
    if made is not None:
        hints["return"] = made
    return {name: hint for name, hint in hints.items() if name in taken}


def _within_partials(function: Callable[..., Any]) -> Any:
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inner


def identity_of(function: Callable[..., Any]) -> str:
    """Text that two functions share only if they are the same."""
    name = name_of(function)
    if inspect.isfunction(function) and function.__closure__ is None:
        return f"{name}:{_digest(function.__code__).hex()}"
    if inspect.isbuiltin(function) and isinstance(function.__self__, ModuleType):
        return name
    return f"{name}:{uuid.uuid4().hex}"


def _digest(code: CodeType) -> bytes:
    digest = hashlib.blake2b(code.co_code, digest_size=DIGEST_BYTES)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            digest.update(_digest(constant))
        elif isinstance(constant, frozenset):
            # The order of a set of texts is another one in every process.
            digest.update(repr(sorted(map(repr, constant))).encode())
        else:
            digest.update(repr(constant).encode())
    return digest.digest()


class Arguments:
    """
    Names the arguments of a function's calls, so that a call is the same however it was written.

    Args:
        key: Makes what counts of the arguments; None: all of them count.
    """

    def __init__(self, function: Callable[..., Any], key: Callable[..., Any] | None = None) -> None:
        self._key = key
        try:
            self._signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):
            self._signature = None  # some functions in C do not say
        parameters = self._signature.parameters.values() if self._signature is not None else ()
        self._rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._more = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)

    def named(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """
        The arguments by their names.

        Raises:
            TypeError: If the function does not take them.
        """
        if self._signature is None:
            return {"args": list(args), "kwargs": dict(sorted(keywords.items()))}
        bound = self._signature.bind(*args, **keywords)
        if self._key is not None:
            return {"key": self._key(*args, **keywords)}
        bound.apply_defaults()
        named = dict(bound.arguments)
        if self._rest is not None:
            named[self._rest] = list(named[self._rest])
        if self._more is not None:
            named[self._more] = dict(sorted(named[self._more].items()))
        return named


def exact(value: Any) -> Any:
    """
    The value as JSON from which it could be told exactly.

    Raises:
        TypeError: If there is no such JSON.
        RecursionError: If it is nested too deeply, or holds itself.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [exact(part) for part in value]
    if kind is tuple:
        return {_TUPLE: [exact(part) for part in value]}
    if kind is dict and _TUPLE not in value and all(type(name) is str for name in value):
        return {name: exact(part) for name, part in value.items()}
    raise TypeError(f"a {kind.__name__} is not JSON")
