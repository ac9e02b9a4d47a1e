"""A real HTTP/1.1 server on the loopback that says what a script tells it to, byte by byte and fault by fault.

It lives on an event loop of its own in a thread of its own, so it serves blocking and asyncio clients alike and stands
still for neither. It reads requests properly and corrects nothing in the answers: what a script sends is what travels.
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .answers import error
from .steps import Step, Steps, play

__all__ = ["Answering", "Received", "ScriptedServer"]

BACKLOG = 1024  # connections that the kernel holds until we accept them
FILLERS = 4  # connections that fill a backlog of 0; Linux lets one through, other systems up to three
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds


@dataclass(frozen=True, slots=True)
class Received:
    """
    One request as it came.

    Attributes:
        path: The path without its query.
        query: What stands after the question mark, or nothing.
        headers: Names in lower case; values sent more than once are joined with a comma.
        raw_headers: The headers in order and as they were spelt.
        connection: Which connection brought it, counted from 1; two requests with one number shared a connection.
        at_s: When it was complete, on `time.monotonic()`.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw_headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    connection: int
    at_s: float

    def json(self) -> Any:
        """
        The body as JSON.

        Raises:
            ValueError: If it is something else.
        """
        return json.loads(self.body)


Answering = Callable[[Received], "Iterable[Step] | None"]
"""Looks at a request and answers it, or returns None to leave it to the script."""


class ScriptedServer:
    """
    Answers each request with the next script.

        with ScriptedServer(chat("hello"), error(429)) as server:
            client = openai.OpenAI(base_url=server.base_url, api_key="any")

    Who answers a request: the functions given to `on`, the latest first; then the scripts for its path; then those for any
    path. Where nobody does, it gets a 400 that says so, a status that nobody retries.

    Args:
        scripts: The first scripts of the queue, see `answer`.
        tls: Paths of a certificate chain and its key in PEM, or a server context of your own; None is plain HTTP.
        base_path: What `base_url` adds to `origin`.

    Whatever goes wrong inside the server, an exception in a function given to `on`, say, is raised where the `with` ends.
    """

    def __init__(
        self,
        *scripts: Iterable[Step],
        tls: tuple[str | Path, str | Path] | ssl.SSLContext | None = None,
        base_path: str = "/v1",
    ) -> None:
        self._tls = _context(tls) if isinstance(tls, tuple) else tls
        self._base_path = base_path
        self._queues: dict[str, deque[Iterable[Step]]] = {}
        self._always: dict[str, Steps] = {}
        self._functions: list[Answering] = []
        self._requests: list[Received] = []
        self._errors: list[BaseException] = []
        # Guards all above and the counts, and tells those who wait for a change of them.
        self._changed = threading.Condition()
        self._open = 0
        self._total = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ports: list[socket.socket] = []
        self.port = 0
        self.answer(*scripts)

    # What it answers.

    def answer(self, *scripts: Iterable[Step], path: str = "") -> None:
        """Answer one request with each of the scripts, in order; with a path only requests whose path ends with it."""
        with self._changed:
            self._queues.setdefault(path, deque()).extend(scripts)

    def always(self, script: Iterable[Step], path: str = "") -> None:
        """Answer with this script whenever the queue of `path` is empty."""
        with self._changed:
            self._always[path] = list(script)

    def on(self, function: Answering) -> Answering:
        """Let a function answer; it runs in the server's thread. Can stand above it as a decorator."""
        with self._changed:
            self._functions.append(function)
        return function

    # Where it is.

    @property
    def origin(self) -> str:
        """`scheme://host:port`."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The URL to give to an OpenAI client; Anthropic's wants `origin`."""
        return self.origin + self._base_path

    def refused_url(self) -> str:
        """A URL whose connections are refused. The port stays reserved while the server runs, so nobody else opens it."""
        reserved = self._reserved()
        return f"http://127.0.0.1:{reserved.getsockname()[1]}{self._base_path}"

    def blackhole_url(self) -> str:
        """
        A URL whose connections are never made, as if every SYN were lost.

        A socket listens there with a backlog that is full and accepts nothing. Linux drops the SYN then; other systems
        may refuse the connection.
        """
        listener = self._reserved()
        listener.listen(0)
        for _ in range(FILLERS):
            filler = socket.socket()
            self._ports.append(filler)
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        return f"http://127.0.0.1:{listener.getsockname()[1]}{self._base_path}"

    @staticmethod
    def unresolvable_url() -> str:
        """A URL whose host has no address, by RFC 6761."""
        return "http://scripted.invalid/v1"

    def _reserved(self) -> socket.socket:
        reserved = socket.socket()
        self._ports.append(reserved)
        reserved.bind(("127.0.0.1", 0))
        return reserved

    # What it saw.

    @property
    def requests(self) -> list[Received]:
        """The requests so far, in the order in which they were complete."""
        with self._changed:
            return list(self._requests)

    @property
    def connections_open(self) -> int:
        """Connections that are open now, also those that have sent nothing yet."""
        return self._open

    @property
    def connections_total(self) -> int:
        """Connections that were ever accepted; over TLS also those whose handshake failed."""
        return self._total

    def wait_closed(self, timeout_s: float = 5.0) -> bool:
        """Wait until no connection is open; False if one still is after so long."""
        return self._wait(lambda: self._open == 0, timeout_s)

    def wait_requests(self, count: int, timeout_s: float = 5.0) -> bool:
        """Wait until so many requests have come since the start; False if they have not after so long."""
        return self._wait(lambda: len(self._requests) >= count, timeout_s)

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    # Its life.

    def start(self) -> Self:
        """
        Listen on a free port.

        Raises:
            RuntimeError: If it runs already.
        """
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="scripted-server", daemon=True)
        self._thread.start()
        started.wait()
        return self

    def stop(self) -> None:
        """Cut all connections and free the ports. Harmless twice."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = self._loop = None
        for port in self._ports:
            port.close()
        self._ports.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if raised is None and self._errors:
            raise self._errors[0]

    def __repr__(self) -> str:
        state = f"{self._open} of {self._total} connections open" if self._thread is not None else "stopped"
        return f"<ScriptedServer {self.origin} {len(self._requests)} requests, {state}>"

    def _run(self, started: threading.Event) -> None:
        assert self._listener is not None
        # Not the policy's loop: uvloop, where it is installed, shows no sockets to set SO_LINGER on.
        with self._listener, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            self._loop = runner.get_loop()
            self._loop.add_reader(self._listener, self._accept)
            self._loop.call_soon(started.set)
            self._loop.run_forever()
            self._loop.remove_reader(self._listener)
            # Closing the runner cancels every task and waits for it: that ends the connections.

    def _accept(self) -> None:
        # By hand: asyncio's own servers count no connection before its handshake, and do not end them all when they close.
        assert self._listener is not None and self._loop is not None
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has thought better of it
        accepted.setblocking(False)
        with self._changed:
            self._total += 1
            self._open += 1
        task = self._loop.create_task(self._serve(accepted, self._total))
        self._serving.add(task)  # the event loop itself holds tasks weakly only
        task.add_done_callback(functools.partial(self._ended, accepted))

    def _ended(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        accepted.close()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    async def _serve(self, accepted: socket.socket, number: int) -> None:
        """One connection from its first byte to its last."""
        connection = _Connection(number)
        try:
            if await self._connect(connection, accepted):
                await self._converse(connection)
        except asyncio.CancelledError:
            pass  # the client is gone, or the server stops
        except Exception as failure:
            self._errors.append(failure)
        finally:
            await connection.cut_off()

    async def _connect(self, connection: _Connection, accepted: socket.socket) -> bool:
        """Shake hands. That it fails over TLS is the client's affair and no error of ours."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, accepted, ssl=self._tls)
        except OSError:
            return False
        return True

    async def _converse(self, connection: _Connection) -> None:
        while (request := await connection.receive()) is not None:
            with self._changed:
                self._requests.append(request)
                self._changed.notify_all()
            try:
                script = self._script(request)
            except Exception as failure:
                self._errors.append(failure)
                script = error(500, {"error": {"message": f"the scripted server failed: {failure!r}"}})
            await play(script, connection)
            if request.headers.get("connection", "").lower() == "close":
                connection.close()

    def _script(self, request: Received) -> Iterable[Step]:
        for function in reversed(self._functions):
            if (script := function(request)) is not None:
                return script
        with self._changed:
            # Only the empty path is the end of every path; it comes last.
            for path in sorted({*self._queues, *self._always}, key=len, reverse=True):
                if request.path.endswith(path):
                    if queue := self._queues.get(path):
                        return queue.popleft()
                    if path in self._always:
                        return self._always[path]
        asked = f"{request.method} {request.path}, request {len(self._requests)}"
        return error(400, {"error": {"message": f"no script is left for {asked}", "type": "scripted_server"}})


class _Connection(asyncio.Protocol):
    """The server's end of one connection: reads requests, and is the wire on which steps play."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        # An event and no future: cancelling the task that awaits a future cancels the future.
        self._lost = asyncio.Event()
        self._task = asyncio.current_task()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # With no buffer of our own a write that is over is with the kernel, and a reset loses none of it.
        # (asyncio pauses a writer above the limit, but its TLS at the limit, and that one at 0 would never go on.)
        transport.set_write_buffer_limits(high=0 if transport.get_extra_info("sslcontext") is None else 1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        _ring(self._arrived)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        _ring(self._drained)
        self._drained = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        if self._task is not None:
            self._task.cancel()

    # The wire.

    async def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
        if self._drained is not None:
            await self._drained

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def gone(self) -> None:
        await self._lost.wait()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def reset(self) -> None:
        assert self._transport is not None
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self._transport.abort()

    async def cut_off(self) -> None:
        """Close at once whatever is still open, and wait until it is."""
        if self._transport is not None:
            self._task = None
            self._transport.abort()
            await self._lost.wait()

    # Requests.

    async def receive(self) -> Received | None:
        """
        The next request; None never comes of a client that keeps to HTTP: what is no request ends the connection.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self._more()
        lines = self._taken(end + 4)[:end].decode("latin-1").split("\r\n")
        try:
            method, target, _ = lines[0].split(" ")
            raw = [(name.strip(), value.strip()) for name, value in (line.split(":", 1) for line in lines[1:])]
        except ValueError:
            return None
        headers: dict[str, str] = {}
        for name, value in raw:
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        body = await self._body(headers)
        path, _, query = target.partition("?")
        return Received(method, path, query, headers, raw, body, self._number, time.monotonic())

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int((await self._line()).split(b";")[0], 16):
                body += await self._exactly(size)
                await self._line()
            while await self._line():
                pass  # trailers
            return body
        return await self._exactly(int(headers.get("content-length", 0)))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._taken(size)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        return self._taken(end + 2)[:-2]

    def _taken(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> None:
        self._arrived = self._loop.create_future()
        await self._arrived


def _ring(bell: asyncio.Future[None] | None) -> None:
    if bell is not None and not bell.done():
        bell.set_result(None)


def _context(files: tuple[str | Path, str | Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context
