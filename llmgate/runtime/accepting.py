"""What a caller says, made into a request and the options of a call, or refused with the place and the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic_core import from_json

from ..errors import BadRequest
from ..types.call import CacheControl, Options
from ..types.request import Message, Request, Verb
from ..types.units import parse_duration, shown
from ..types.uploads import uploads_in
from ..types.wire import dumps, encode

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["accept", "options", "passed", "seconds"]

REQUEST_MAX_BYTES = 32 * 10**6  # Anthropic's limit of a request, the largest of the big providers
LONE_SURROGATE = "the text holds half of a character pair (a lone surrogate), which UTF-8 cannot carry"

OPTION_NAMES = frozenset({"timeout", "tenant", "tags", "cache", "fallback", "idempotency_key", "unsupported"})


def options(keywords: dict[str, Any], scope: Callable[[], Options]) -> Options | None:
    """
    Take the options of the call out of the keywords; what a keyword leaves open, the surrounding scope says.

    Returns:
        None if nothing was said, so that the common case makes no object.

    Raises:
        BadRequest: If an option has a wrong value.
    """
    if OPTION_NAMES.isdisjoint(keywords):
        return None
    base = scope()
    timeout = keywords.pop("timeout", None)
    tenant = keywords.pop("tenant", None)
    tags = keywords.pop("tags", None)
    cache = keywords.pop("cache", None)
    fallback = keywords.pop("fallback", None)
    key = keywords.pop("idempotency_key", None)
    unsupported = keywords.pop("unsupported", None)
    return Options(
        timeout_s=base.timeout_s if timeout is None else _timeout(timeout),
        tenant=base.tenant if tenant is None else _text("tenant", tenant),
        tags=base.tags if tags is None else {**base.tags, **_tags(tags)},
        cache=base.cache if cache is None else _cache_control(cache),
        fallback=base.fallback if fallback is None else _yes_or_no("fallback", fallback),
        idempotency_key=base.idempotency_key if key is None else _header("idempotency_key", key),
        unsupported=base.unsupported if unsupported is None else _unsupported(unsupported),
    )


def _timeout(value: object) -> float:
    if isinstance(value, int | float):
        # What is left of somebody's time may be less than nothing, or unlimited.
        if value < 0:
            return 0.0
        if value == math.inf:
            return value
    return seconds("timeout", value)


def seconds(name: str, value: object) -> float:
    """
    A time as people write it, in seconds.

    Raises:
        BadRequest: If it is none; `name` says which.
    """
    try:
        return parse_duration(value)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name}: expected a string, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name}: {LONE_SURROGATE}") from None
    return value


def _yes_or_no(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: expected True or False, got {shown(value)}")
    return value


def _unsupported(value: object) -> Literal["error", "drop"]:
    match value:
        case "error":
            return "error"
        case "drop":
            return "drop"
        case _:
            raise BadRequest(f"unsupported: {shown(value)} is neither 'error' nor 'drop'")


def _header(name: str, value: object) -> str:
    text = _text(name, value)
    if not text.isascii() or not text.isprintable() or text != text.strip() or not text:
        raise BadRequest(f"{name}: travels in an HTTP header, which carries printable ASCII without spaces around it")
    return text


def _tags(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise BadRequest("tags: expected a dict of strings")
    return {_text("tags", key): _text(f"tags{_step(key)}", str(item)) for key, item in value.items()}


def _cache_control(value: object) -> CacheControl:
    match value:
        case CacheControl():
            return value
        case True:
            return CacheControl(asked=True)
        case False:
            return CacheControl(read=False, write=False)
        case "no-cache":
            return CacheControl(read=False)
        case "no-store":
            return CacheControl(write=False)
        case Mapping():
            return _cache_mapping(value)
        case _:
            raise BadRequest(f"cache: {shown(value)} is none of True, False, 'no-cache', 'no-store', {{'ttl': …}}")


def _cache_mapping(value: Mapping[Any, Any]) -> CacheControl:
    unknown = set(value) - {"ttl", "max_age", "namespace"}
    if unknown:
        first = shown(sorted(map(str, unknown))[0])
        raise BadRequest(f"cache: unknown key {first}; there are ttl, max_age and namespace")
    ttl, max_age, namespace = value.get("ttl"), value.get("max_age"), value.get("namespace")
    return CacheControl(
        asked=True,
        ttl_s=None if ttl is None else seconds("cache.ttl", ttl),
        max_age_s=None if max_age is None else seconds("cache.max_age", max_age),
        namespace="" if namespace is None else _text("cache.namespace", namespace),
    )


def accept(verb: Verb, body: dict[str, Any], stream: bool = False) -> Request:
    """
    A request that can be sent: its messages are messages, and all of it is JSON. It shares nothing with what was given,
    so the caller may go on with the conversation while the request waits.

    Raises:
        BadRequest: If not; the message says where and why.
    """
    if "stream" in body:
        raise BadRequest("stream: use gateway.stream(...) to read an answer in pieces")
    if verb in ("chat", "count_tokens"):
        body["messages"] = _messages(body["messages"])
        if "response_format" in body:
            body["response_format"] = _response_format(body["response_format"])
    elif verb == "embed":
        given = body["input"]
        if given is None or (isinstance(given, Sequence) and not given):
            raise BadRequest("input: there is nothing to embed")
        _text_or_list("input", given)
    elif verb == "complete":
        _text_or_list("prompt", body["prompt"])
    elif verb == "transcribe" and RECORDINGS.isdisjoint(body):
        raise BadRequest(
            "file: there is nothing to transcribe; give a recording's bytes, its path, or its name and bytes"
        )
    elif verb in NEEDED:
        _given(verb, body)
    body, encoded = _sendable(body)
    return Request(verb, "", body, stream, encoded)


RECORDINGS = frozenset({"file", "file_id", "file_url", "input_audio"})
"""Ways to say what is to be transcribed: the file itself, and what single upstreams take instead of it."""

NEEDED: Mapping[Verb, tuple[tuple[str, str], ...]] = {
    "image": (("prompt", "text"),),
    "video": (("prompt", "text"),),
    "moderate": (("input", "text or list"),),
    "rerank": (("query", "text"), ("documents", "list")),
    "speak": (("input", "text"),),
}
"""What a request of the verb is nothing without."""


def _given(verb: Verb, body: dict[str, Any]) -> None:
    for name, sort in NEEDED[verb]:
        value = body[name]
        is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        if not (isinstance(value, str) and "text" in sort) and not (is_list and "list" in sort):
            raise BadRequest(f"{name}: expected a {sort.replace('text', 'string')}, got {type(value).__name__}")
        if not value:
            raise BadRequest(f"{name}: it is empty; there is nothing to {verb}")


def _text_or_list(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise BadRequest(f"{name}: expected a string or a list, got {type(value).__name__}")


def _sendable(body: Any) -> tuple[Any, bytes]:
    """The body as those who read the request will see it, and as it is sent."""
    try:
        # The fast writer takes more than JSON has. What it wrote was JSON if it reads the same.
        encoded = encode(body)
        kept = from_json(encoded, allow_inf_nan=False)
        if kept == body and len(encoded) <= REQUEST_MAX_BYTES:
            return kept, encoded
    except (ValueError, TypeError, RecursionError):
        pass  # The exact one says what is wrong, if anything is.
    try:
        encoded = dumps(body)
        if len(encoded) > REQUEST_MAX_BYTES and _weight(body, len(encoded)) > REQUEST_MAX_BYTES:
            raise BadRequest(f"the request is {len(encoded)} bytes long; at most {REQUEST_MAX_BYTES} can be sent")
        return from_json(encoded), encoded
    except (ValueError, TypeError) as error:
        raise BadRequest(_unsendable(body, str(error))) from None


def _weight(body: Any, size: int) -> int:
    """Bytes that are sent: files travel as they are, and not as base64."""
    return size - sum(len(file["data"]) // 4 for file in uploads_in(body))


def _messages(messages: object) -> list[Any]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if type(messages) is not list and (isinstance(messages, Mapping | bytes) or not isinstance(messages, Sequence)):
        raise BadRequest(f"messages: expected a string or a list of messages, got {type(messages).__name__}")
    if not messages:
        raise BadRequest("messages: the list is empty; there is nothing to answer")
    out: list[Any] = list(messages)
    for at, given in enumerate(out):
        message = given
        if type(message) is not dict:
            out[at] = message = _message(at, message)
        if not isinstance(message.get("role"), str):
            raise BadRequest(f"messages[{at}].role: missing; write 'system', 'user', 'assistant' or 'tool'")
    return out


def _message(at: int, message: object) -> dict[str, Any]:
    if isinstance(message, Message):
        return message.to_openai()
    if isinstance(message, Mapping):
        return dict(message)
    raise BadRequest(f"messages[{at}]: expected a dict or a Message, got {type(message).__name__}")


def _response_format(value: Any) -> Any:
    """A pydantic model stands for the JSON schema it describes."""
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        from pydantic import PydanticUserError

        from ..types.schemas import strict_format

        try:
            return strict_format(cast("type[BaseModel]", value))
        except PydanticUserError as error:
            raise BadRequest(f"response_format: {value.__name__} has no JSON schema: {error.message}") from None
    return value


def _unsendable(value: Any, reason: str, path: str = "", around: tuple[int, ...] = ()) -> str:
    """Where in the request it is that JSON cannot carry, found by looking again, piece by piece."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    for key, item in items:
        try:
            from_json(dumps(item))
        except (ValueError, TypeError) as error:
            inside = (*around, id(value))
            if id(item) in inside:
                reason, path = "it holds itself", path + _step(key)
            elif len(around) == SHOWN_DEPTH:
                reason = str(error)
            else:
                return _unsendable(item, str(error), path + _step(key), inside)
            break
    for word, sentence in UNSENDABLE.items():
        if word in reason:
            reason = sentence.format(type=reason.removeprefix("Object of type ").partition(" ")[0])
    return f"{path.removeprefix('.') or 'the request'}: {reason}"


SHOWN_DEPTH = 16  # steps of a path that are still read by people
UNSENDABLE = {
    "surrogates": LONE_SURROGATE,
    "float values are not JSON": "NaN and Infinity are not JSON",
    "not JSON serializable": "a {type} is not JSON; give a str, number, bool, None, list or dict",
    "recursion limit": "nested too deeply",
    "Circular reference": "it holds itself",
}
"""What to say in place of what the writer and the reader of JSON say."""


def _step(key: object) -> str:
    """One step of a path."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() and len(key) < 40 else f"[{shown(key)}]"


def passed(method: str, path: str, body: Any, rest: Mapping[str, Any]) -> Request:
    """
    A request that passes through as it is.

    Raises:
        BadRequest: If the method or the path is none, or the body is not JSON.
    """
    if rest:
        raise BadRequest(f"unknown keyword {shown(sorted(rest)[0])}; give the body as json=…")
    if not isinstance(method, str) or not method.isalpha() or not method.isascii():
        raise BadRequest(f"method: {shown(method)} is no HTTP method")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or path.startswith("//")
        or not path.isascii()
        or not path.isprintable()
        or " " in path
        or "#" in path
    ):
        raise BadRequest(f"path: {shown(path)} must start with one slash and hold printable ASCII without spaces and #")
    body, encoded = (None, b"") if body is None else _sendable(body)
    return Request("request", "", body, False, encoded, method.upper(), path)
