"""The lanes of the extra `fast`: requests are written here, and aiohttp's parser, which is written in C, reads the answers."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any

import httpcore2
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import HttpProcessingError

from ..types.wire import WireRequest
from .http import Headers, fields
from .loop_line import AsyncLine, Names
from .loop_port import LoopPort
from .ports import origin_of

__all__ = ["AiohttpPort"]

FINAL = 200  # a status below announces an answer and is none
UNHURRIED_BYTES = 2**30  # what the parser may hold before it complains; the line holds back the upstream long before

# A method, a target and fields as RFC 9110 and RFC 9112 have them; of line breaks there are none but ours.
_HEAD = re.compile(
    r"[\w!#$%&'*+\-.^`|~]+ [!-~]+ HTTP/1\.1\r\n(?:[\w!#$%&'*+\-.^`|~]+: [\t\x20-\x7e\x80-\xff]*\r\n)+\r\n", re.ASCII
)


class AiohttpPort(LoopPort):
    """A lane whose HTTP is aiohttp's, or of it the half that is hard."""

    def __init__(self, names: Names, origin: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(names, origin)
        self._tls = tls
        self._parser: Any = None
        self._body: Any = None
        self._keeps = False

    async def exchange(self, request: WireRequest) -> tuple[int, Headers]:
        line = self._line
        if line is None:
            line = await self._connected()
        await line.write(_written(request))
        data = await line.read(0)
        self._parser = HttpResponseParser(
            _UNHURRIED,
            asyncio.get_running_loop(),
            UNHURRIED_BYTES,
            response_with_body=request.method != "HEAD",
            read_until_eof=True,
            auto_decompress=False,
        )
        while data:
            messages = self._parsed(data)
            for message, body in messages:
                if message.code >= FINAL:
                    self._body = body
                    # What follows the answer is the answer to nobody's question.
                    self._keeps = not message.should_close and message is messages[-1][0]
                    return message.code, Headers(message.raw_headers)
            data = await line.read(0)
        raise httpcore2.RemoteProtocolError("disconnected")

    async def _connected(self) -> AsyncLine:
        origin = origin_of(self.origin)
        host = origin.host.decode()
        line = await self.connect_tcp(host, origin.port)
        if self._tls is not None:
            self._tls.set_alpn_protocols(["http/1.1"])
            await line.start_tls(self._tls, host)
        return line

    def _parsed(self, data: bytes) -> Any:
        """The heads of answers that `data` completes, each with its body. b"" is the end of everything."""
        try:
            if not data:
                self._keeps = False
                self._parser.feed_eof()
                return ()
            messages, switched, _ = self._parser.feed_data(data)
        except HttpProcessingError as error:
            raise httpcore2.RemoteProtocolError(type(error).__name__) from None
        if switched:
            raise httpcore2.RemoteProtocolError("another protocol")
        return messages

    async def next(self) -> bytes:
        line = self._line
        assert line is not None
        while True:
            data: bytes = self._body.read_nowait()
            if data or self._body.is_eof():
                return data
            if self._parsed(await line.read(0)):
                self._keeps = False

    async def finish(self) -> bool:
        self._parser = self._body = None
        return self._keeps and self.quiet()

    async def leave(self) -> None:
        self.abort()


def _written(request: WireRequest) -> bytes:
    lines = fields(request)
    fields_written = "".join([f"{name}: {value}\r\n" for name, value in lines])
    head = f"{request.method} {request.target} HTTP/1.1\r\n{fields_written}\r\n"
    if not _HEAD.fullmatch(head) or head.count("\n") != len(lines) + 2:
        raise httpcore2.LocalProtocolError("its head holds characters that a head cannot hold")
    return head.encode("latin-1") + request.body


class _Unhurried:
    """Whom the parser asks to slow down. It is fed by the reader, who takes what comes out before there is more."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


_UNHURRIED: Any = _Unhurried()
