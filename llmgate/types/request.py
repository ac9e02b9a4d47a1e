"""What a caller asks for, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BadRequest
from .wire import dumps, encode

__all__ = ["ONCE", "PINNED", "Message", "Original", "Request", "Verb"]

Verb = Literal[
    "chat", "complete", "embed", "models", "request", "call",
    "image", "video", "video_status", "video_content", "moderate", "rerank", "transcribe", "speak", "count_tokens",
]  # fmt: skip
"""
What can be asked for. `request` is anything else a provider has, passed through; `call` runs a wrapped function.
"""

PINNED: frozenset[Verb] = frozenset({"video_status", "video_content"})
"""Verbs about something that only the deployment knows where it was begun. The route of such a call is its name."""

ONCE: frozenset[Verb] = frozenset({"video"})
"""Verbs that begin something which is paid for and goes on: where it may have begun it is not begun again."""


@dataclass(slots=True)
class Message:
    """
    One message of a chat, for those who prefer a type to a dict.

    Attributes:
        role: `system`, `developer`, `user`, `assistant` or `tool`.
        content: A string, or OpenAI content parts (`{"type": "text"|"image_url"|…}`).
        tool_calls: OpenAI tool calls of an assistant message.
        tool_call_id: The call that a `tool` message answers.
        name: Name of the speaker.
        extra: More keys of the message, sent as they are.
    """

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_openai(self) -> dict[str, Any]:
        """The message as OpenAI writes it; what is None is left out, but for the content."""
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls is not None:
            out["tool_calls"] = self.tool_calls
        if self.tool_call_id is not None:
            out["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            out["name"] = self.name
        return out | self.extra


class Original:
    """
    The body of a request in its caller's own format. It is translated when somebody looks, and then once.

    Args:
        body: As it came.
        read: Makes the request in our shape of it. What that is as JSON is written when somebody wants it.
        plain: Whether our shape is the body itself, but for the model and for how the answer travels.
    """

    __slots__ = ("_read", "_unified", "body", "plain")

    def __init__(self, body: Any, read: Callable[[Any], Request], plain: bool = False) -> None:
        self.body = body
        self.plain = plain
        self._read = read
        self._unified: Request | None = None

    def unified(self) -> Request:
        """
        What it asks for in our shape.

        Raises:
            BadRequest: If it is no body of its format, or of a form of it that only its own upstream can read.
        """
        # Of two threads that come first one throws away what the other has made, too.
        if self._unified is None:
            unified = self._read(self.body)
            if not unified.encoded:
                del unified.encoded
                unified.__class__ = _Unread
            self._unified = unified
        return self._unified


@dataclass(slots=True)
class Request:
    """
    One request to a model, independent of who will answer it.

    Attributes:
        verb: What is asked for.
        model: The upstream's name of the model; the attempt fills it in. Empty where none is needed.
        body: OpenAI's parameters of the verb without `model` and `stream`: for `chat` its `messages` and
            the rest (names llmgate does not know included), for `complete` the `prompt`, for `embed`
            the `input`, for `request` the JSON body as it is. The others have OpenAI's parameters, too;
            `rerank` has `query` and `documents`, and files are as in `types/uploads.py`.
        stream: Whether the caller wants the answer in pieces.
        encoded: `body` as UTF-8 JSON in its own order; made once, when the request is accepted,
            because that also proves that it can be sent. Empty for `models` and for a body that is None.
        method: For `request`: the HTTP method.
        path: For `request`: the path below the provider's base URL, starting with a slash.
        spoken: Name of the wire format that the caller speaks and is answered in; empty for callers of a gateway's verbs.
        original: The body in that format. An upstream that speaks it is sent this; `body` and `encoded` are made of it
            when somebody looks, and raise `BadRequest` if they cannot be. None as soon as somebody changed the request.
        headers: Header lines of the caller's that go with it in place of ours, names in lower case. A key is not among
            them.

    The cache key covers every field that reaches the wire; `policies/cache_key.py` classifies each.
    """

    verb: Verb
    model: str = ""
    body: dict[str, Any] | Any = field(default_factory=dict)
    stream: bool = False
    encoded: bytes = b""
    method: str = "POST"
    path: str = ""
    spoken: str = ""
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    # A copy that `dataclasses.replace` makes says something else than the original, and so it has none.
    original: Original | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def said(cls, spoken: str, original: Original, verb: Verb, model: str = "", stream: bool = False) -> Request:
        """A request in a caller's own format."""
        request = _Unread(verb, model, None, stream, spoken=spoken)
        request.original = original
        del request.body, request.encoded
        return request

    def native(self, dialect: str) -> Any:
        """The body as it came, if it came in this format and nobody changed the request since; else None."""
        original = self.original
        if original is None or self.spoken != dialect:
            return None
        for name in ("body", "encoded"):
            try:
                own = object.__getattribute__(self, name)
            except AttributeError:
                continue  # nobody has looked at it
            if own is not getattr(original.unified(), name):
                return None
        return original.body

    def _encoded(self) -> bytes:
        try:
            return encode(self.body)
        except (TypeError, ValueError) as error:
            raise BadRequest(f"the request is not JSON: {error}") from None

    def but(self, **params: Any) -> Request:
        """
        The same request with some parameters of its body changed; None takes one out. For middleware.

        Raises:
            ValueError, TypeError: If a value is no JSON.
        """
        body = {
            name: value for name, value in {**self.body, **params}.items() if value is not None or name not in params
        }
        return Request(
            self.verb, self.model, body, self.stream, dumps(body), self.method, self.path, self.spoken, self.headers
        )  # fmt: skip

    def to(self, model: str) -> Request:
        """The same request to another model."""
        if self.original is not None and self.native(self.spoken) is not None:
            request = Request.said(self.spoken, self.original, self.verb, model, self.stream)
            request.path, request.headers = self.path, self.headers
            return request
        return Request(
            self.verb, model, self.body, self.stream, self.encoded, self.method, self.path, self.spoken, self.headers
        )  # fmt: skip


class _Unread(Request):
    """
    A request of which something is made only when somebody wants it: of one in a caller's format its body in ours, of a
    translation its JSON. It has a class of its own, because every look at anything of a class with a `__getattr__` is slow.
    """

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Python comes here for what is not there.
            if name not in ("body", "encoded"):
                raise AttributeError(f"a request has no {name}")
            value = self._encoded() if self.original is None else getattr(self.original.unified(), name)
            setattr(self, name, value)
            return value
