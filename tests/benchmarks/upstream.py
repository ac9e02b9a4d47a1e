"""A mock upstream in a process of its own: OpenAI-shaped answers from one asyncio protocol, no framework."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TEXT = "The parcel left our warehouse on Thursday and should arrive before the weekend. " * 9
USAGE = {"prompt_tokens": 243, "completion_tokens": 97, "total_tokens": 340}
MESSAGES = [
    {"role": "system", "content": "You are the support assistant of an online bookshop. Answer briefly. " * 4},
    {"role": "user", "content": "Hello, I ordered two books last Tuesday and only one has arrived so far. " * 2},
    {"role": "assistant", "content": "I am sorry about the wait. The order was split into two parcels. " * 2},
    {"role": "user", "content": "Then why does the tracking page not know the second parcel? I need it soon. " * 2},
]
CHUNKS = 500


def _answer(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    extra = "".join(f"x-provider-header-{at}: some value of a usual length\r\n" for at in range(16))
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body


def _chat() -> bytes:
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": USAGE,
    }
    return _answer(json.dumps(whole).encode())


def _stream() -> bytes:
    def event(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n"

    events = [event({"content": " word"}) for _ in range(CHUNKS)] + [event({}, "stop"), "data: [DONE]\n\n"]
    return _answer("".join(events).encode(), "text/event-stream")


class Upstream(asyncio.Protocol):
    WHOLE, STREAM = _chat(), _stream()
    FAILED = _answer(b'{"error": {"message": "overloaded", "type": "server_error"}}', status="503 Service Unavailable")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            body, self.data = rest[:length], rest[length:]
            if b"please fail" in body:
                self.transport.write(self.FAILED)
            else:
                self.transport.write(self.STREAM if b'"stream"' in body else self.WHOLE)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serve() -> Iterator[str]:
    """The upstream's base URL."""
    code = "import asyncio; from tests.benchmarks.upstream import _serve; asyncio.run(_serve())"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
