"""One HTTP request of an ASGI server, from its first byte to the last byte of its answer.

Whoever leaves is noticed at once, whatever is being waited for: while the answer is made, a task of its own listens, and
cancels the making. Nobody may take for ever: not to send a request, and not to read an answer.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html (checked 2026-11-21).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

from ..config.server import ServerSettings
from ..errors import BadRequest, GatewayError
from .answered import Answered
from .asked import Asked, Lines

__all__ = ["CONNECTION", "Conversation", "Gone", "Message", "Receive", "Send"]

T = TypeVar("T")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECTION = "llmgate.connection"
"""Extension of a scope: the asyncio transport, of servers that let an answer be broken off."""

SAFE: Lines = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
]
TLS_ONLY = (b"strict-transport-security", b"max-age=31536000")  # a year, the least that browsers' lists take
UNBUFFERED = (b"x-accel-buffering", b"no")  # nginx holds a stream back otherwise
CLOSE = (b"connection", b"close")

ELSEWHERE = frozenset(
    {
        b"alt-svc", b"cache-control", b"clear-site-data", b"content-security-policy", b"date", b"proxy-authenticate",
        b"server", b"set-cookie", b"strict-transport-security", b"te", b"trailer", b"upgrade", b"www-authenticate",
        b"x-content-type-options", b"x-frame-options",
    }
)  # fmt: skip
"""Headers of an upstream that speak about its address, which is not ours, or about the way to us."""
CORS = b"access-control-"

LINGER_S = 1.0  # seconds that a client may go on sending what nobody reads, so that it gets to read why
CLIENT_GONE = 499  # what nginx counts such requests as


class Gone(Exception):
    """The client has left."""


class Conversation:
    """
    A request and the way to answer it.

    Attributes:
        asked: The request; its body comes when it is asked for.
        client: Address of whoever sent it; empty if it came over no network.
        more: Headers besides those of the answer.
        status: Of the answer.
    """

    def __init__(self, scope: Message, receive: Receive, send: Send, settings: ServerSettings) -> None:
        self.asked = Asked(
            scope["method"], "", _path(scope), scope["query_string"].decode("latin-1"), list(scope["headers"])
        )
        client = scope.get("client")
        self.client: str = client[0] if client else ""
        self.more: Lines = [*SAFE, TLS_ONLY] if scope.get("scheme") == "https" else [*SAFE]
        self.status = CLIENT_GONE
        self._settings = settings
        self._receive = receive
        self._send = send
        self._connection = (scope.get("extensions") or {}).get(CONNECTION)
        self._is_head = scope["method"] == "HEAD"
        named = self.asked.named
        self._is_unread = b"content-length" in named or b"transfer-encoding" in named

    # The request.

    async def body(self) -> bytes:
        """
        All of the body.

        Raises:
            BadRequest: If it is too large, takes too long, or is packed.
            Gone: If it does not come.
        """
        named = self.asked.named
        if not self._is_unread and self.asked.method in ("GET", "HEAD"):
            return b""
        length = named.get(b"content-length", b"0")
        if b"content-length" in named and b"transfer-encoding" in named:
            # Two servers in a row may each believe another one of the two: request smuggling.
            raise BadRequest("a request has a content-length or a transfer-encoding, not both")
        if named.get(b"content-encoding", b"identity") != b"identity":
            raise BadRequest("the body is packed; send it as it is", status=415)
        if not length.isdigit() or int(length) > self._settings.max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                return await self._read()
        except TimeoutError:
            raise BadRequest("the body took too long to arrive", status=408) from None

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        left = self._settings.max_body
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            left -= len(part)
            if left < 0:
                raise self._too_large()
            parts.append(part)
            if not message.get("more_body"):
                self._is_unread = False
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> BadRequest:
        return BadRequest(f"the body is too large; at most {self._settings.max_body} bytes are taken", status=413)

    # The answer.

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """
        What comes of the work, which is cancelled when the client leaves.

        Raises:
            Gone: If it has left.
        """
        task = asyncio.current_task()
        assert task is not None
        watch = asyncio.create_task(self._left(task))
        try:
            return await work
        except asyncio.CancelledError:
            if watch.done() and not watch.cancelled() and not task.uncancel():
                raise Gone from None
            raise
        finally:
            watch.cancel()

    async def _left(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    async def send(self, answered: Answered) -> None:
        """
        Send an answer.

        Raises:
            Gone: If there is nobody to read it, or nobody reads.
        """
        body = answered.body
        lines = [line for line in answered.headers if line[0] not in ELSEWHERE and not line[0].startswith(CORS)]
        lines += self.more
        if self._is_unread:
            lines.append(CLOSE)
        if body is None:
            try:
                await self._start(answered.status, [*lines, UNBUFFERED])
                await self.unless_gone(self._pieces(answered))
            finally:
                await answered.close()
            return
        if answered.status != 204:
            lines.append((b"content-length", b"%d" % len(body)))
        await self._start(answered.status, lines)
        await self._put(b"" if self._is_head else body, self._is_unread)
        if self._is_unread:
            await self._linger()
            await self._put(b"", False)

    async def _start(self, status: int, lines: Lines) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        self.status = status

    async def _pieces(self, answered: Answered) -> None:
        try:
            while data := await answered.read():
                await self._put(data, True)
        except GatewayError:
            # Its words were the last piece. For clients that do not know them the answer is to be seen not whole.
            await self._break_off("close")
            return
        await self._put(b"", False)

    async def _put(self, data: bytes, more: bool) -> None:
        try:
            async with asyncio.timeout(self._settings.write_timeout):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            await self._break_off("abort")
            raise Gone from None
        except OSError:
            raise Gone from None

    async def _break_off(self, how: str) -> None:
        if self._connection is not None:
            getattr(self._connection, how)()
            await asyncio.sleep(0)  # the server is told

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (message := await self._receive())["type"] == "http.request" and message.get("more_body"):
                    pass


def _path(scope: Message) -> str:
    """The path as it was written, below where the application is mounted."""
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(scope["path"], safe="/:@!$&'()*+,;=~%")
    return path.removeprefix(scope.get("root_path", "")) or "/"
