"""A gateway that listens on a port of its own, in a thread of its own, and a client that says exactly what it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from typing import Any, Self
from urllib.parse import urlsplit

from llmgate import Gateway
from llmgate.config.server import ServerSettings
from llmgate.policies.keyring import Keyring
from llmgate.surfaces.serving import server

__all__ = ["PEPPER", "Heard", "Served", "get", "hear", "keys", "listening", "post", "say"]

PEPPER = "pepper-0123456789"


def keys(**secrets: Any) -> dict[str, Any]:
    """A `server` section with these keys: by their owners' names the key, or a pair of it and more options."""
    told = {name: said if isinstance(said, tuple) else (said, {}) for name, said in secrets.items()}
    listed = [{"name": name, "hash": Keyring.hash_of(PEPPER, key), **more} for name, (key, more) in told.items()]
    return {"pepper": PEPPER, "keys": listed}


class Served:
    """
    A gateway behind uvicorn.

    Args:
        config: Of the gateway; its section `server` gets a free port.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        section = {"port": 0, **config.get("server", {})}
        self.gateway = Gateway(config | {"server": section})
        assert isinstance(self.gateway.config.server, ServerSettings)
        self.url = ""
        self.server = server(self.gateway, self.gateway.config.server, self._tell)
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        # Not `run()`: the loop of the tests is asyncio's own.
        asyncio.run(self.server.serve())

    def _tell(self, url: str) -> None:
        self.url = url
        self._listens.set()

    @property
    def address(self) -> tuple[str, int]:
        place = urlsplit(self.url)
        return str(place.hostname), int(place.port or 0)

    def stop(self) -> None:
        self.server.should_exit = True

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def ended(self, timeout_s: float = 5.0) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def listening(served: Served) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(served.address, timeout=1).close()
    except OSError:
        return False
    return True


class Heard:
    """
    What a server said on one connection.

    Attributes:
        status: 0 if it said nothing.
        whole: Whether the body came to its end, by its length or its last chunk.
        let_finish: Whether all of the request could be sent.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.let_finish = True
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1]) if first else 0
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = self.headers.get("content-length")
        self.whole = self.body.endswith(b"0\r\n\r\n") if length is None else len(self.body) == int(length)

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Heard {self.data[:2000]!r}>"


def say(served: Served, *parts: bytes, timeout_s: float = 5.0, gap_s: float = 0.0) -> Heard:
    """Send bytes as they are, part by part, and hear what comes until the server has said an answer or closes."""
    with socket.create_connection(served.address, timeout=timeout_s) as connection:
        let_finish = True
        try:
            for at, part in enumerate(parts):
                time.sleep(gap_s if at else 0)
                connection.sendall(part)
        except OSError:
            let_finish = False
        heard = hear(connection)
        heard.let_finish = let_finish
        return heard


def hear(connection: socket.socket) -> Heard:
    """What comes until the server has said an answer, or closes."""
    data = bytearray()
    head: Heard | None = None
    try:
        while more := connection.recv(1 << 20):
            data += more
            if head is None and b"\r\n\r\n" in data:
                head = Heard(bytes(data))
            if head is not None and head.headers.get("connection") != "close":
                length = head.headers.get("content-length")
                begun = len(data) - data.index(b"\r\n\r\n") - 4
                if data.endswith(b"0\r\n\r\n") if length is None else begun == int(length):
                    break
    except ConnectionError:
        pass
    return Heard(bytes(data))


def post(path: str, body: Any, *lines: str, method: str = "POST") -> bytes:
    """A request as bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(data)}"]
    if not any(line.lower().startswith("content-type") for line in lines):
        head.append("content-type: application/json")
    return "\r\n".join([*head, *lines, "", ""]).encode() + data


def get(path: str, *lines: str, method: str = "GET") -> bytes:
    """A request without a body, as bytes."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *lines, "", ""]).encode()
