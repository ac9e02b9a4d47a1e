"""A gateway as a server: how it is started, mounted and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmgate import ConfigError, Gateway
from llmgate.config.server import ServerSettings
from llmgate.policies.keyring import Keyring
from llmgate.surfaces.cli import main
from llmgate.surfaces.serving import server as server_of
from llmgate.testing import ScriptedServer, chat, stream
from tests.surfaces.sdks import HELLO, config
from tests.surfaces.served import Heard, hear, keys, post

ROOT = Path(__file__).parents[2]
ASK = {"model": "fast", "messages": HELLO}


class Process:
    """The command, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.line = line
        self.port = int(line.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def say(self, data: bytes) -> Heard:
        with self.connect() as connection:
            connection.sendall(data)
            return hear(connection)


@contextmanager
def process(file: Path, config: dict[str, Any], *arguments: str) -> Iterator[Process]:
    file.write_text(json.dumps(config))
    command = [sys.executable, "-W", "error", "-m", "llmgate", "serve", str(file), "--port", "0", *arguments]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as started:
        try:
            assert started.stdout is not None
            yield Process(started, started.stdout.readline().strip())
        finally:
            started.kill()


def test_the_command(server: ScriptedServer, tmp_path: Path) -> None:
    """
    `serve` says where it listens and answers there; SIGTERM lets a stream come to its end, and ends it.
    """
    server.answer(chat("hello"), stream(["a", "b", "c"], gap_s=0.2))
    with process(tmp_path / "llmgate.json", config(server)) as running:
        whole = running.say(post("/v1/chat/completions", ASK))
        with running.connect() as connection:
            connection.sendall(post("/v1/chat/completions", ASK | {"stream": True}))
            assert server.wait_requests(2)
            running.process.send_signal(signal.SIGTERM)
            streamed = hear(connection)
        code = running.process.wait(10)
        assert running.process.stderr is not None
        said = running.process.stderr.read()

    assert re.fullmatch(r"llmgate listens on http://127\.0\.0\.1:\d+", running.line)
    assert "hello" == whole.json()["choices"][0]["message"]["content"]
    assert streamed.whole and b"[DONE]" in streamed.body
    assert (-signal.SIGTERM, "") == (code, said)


@pytest.mark.parametrize("arguments", [[], ["--host", "0.0.0.0"]])
def test_nobody_listens_for_strangers(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    Without keys it does not listen where others come, and says what to add.
    """
    file = tmp_path / "llmgate.json"
    file.write_text(json.dumps({"server": {"host": "127.0.0.1" if arguments else "10.0.0.1"}}))

    assert 1 == main(["serve", str(file), *arguments])
    assert re.match(
        r"error: server\.keys: others can reach [0.1]+, .* add a key \(`python -m llmgate key` prints one\)",
        capsys.readouterr().err,
    )


def test_a_new_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    `key` prints a key, and the hash that lets it in under the configured pepper; where there is none, a new one, too.
    """
    file = tmp_path / "llmgate.json"
    file.write_text(json.dumps({"server": {"pepper": "pepper"}}))

    def printed(*arguments: str) -> dict[str, str]:
        assert 0 == main(["key", *arguments])
        return dict(re.findall(r"^(\w+): +(\S+)", capsys.readouterr().out, re.MULTILINE))

    known, new = printed(str(file)), printed()

    assert known["hash"] == Keyring.hash_of("pepper", known["key"])
    assert new["hash"] == Keyring.hash_of(new["pepper"], new["key"])
    assert known["key"] != new["key"]
    assert "pepper" not in known


def test_without_the_extra() -> None:
    """
    Without uvicorn a server names the extra, and the application works all the same.
    """
    code = """
import sys
sys.modules["uvicorn"] = sys.modules["starlette"] = None
from llmgate import ConfigError, Gateway
from llmgate.config.server import ServerSettings
from llmgate.surfaces.serving import server
gateway = Gateway({"providers": {"p": {"kind": "simulated"}}})
gateway.asgi()
try:
    server(gateway, ServerSettings())
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert "pip install llmgate[server]" in done.stdout, done.stderr


def test_tls(tmp_path: Path, server: ScriptedServer) -> None:
    """
    With a certificate it speaks TLS, and tells browsers to come no other way.
    """
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    section = {"tls_certificate": str(certificate), "tls_key": str(key)}

    with process(tmp_path / "llmgate.json", config(server) | {"server": section}) as running:
        answer = httpx.get(
            f"https://127.0.0.1:{running.port}/health/live", verify=ssl.create_default_context(cafile=certificate)
        )

    assert (200, "max-age=31536000") == (answer.status_code, answer.headers["strict-transport-security"])


class TestMounted:
    """The application inside of somebody else's."""

    async def ask(self, app: Any, method: str, path: str, client: str = "127.0.0.1", **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as asking:
            return await asking.request(method, path, **options)

    async def test_below_a_path(self, server: ScriptedServer) -> None:
        """
        Where it is mounted below a path, addresses mean the same as at the top.
        """
        from starlette.applications import Starlette
        from starlette.routing import Mount

        server.answer(chat("hello"), chat("unread"))
        gateway = Gateway(config(server))
        app = Starlette(routes=[Mount("/llm", gateway.asgi())])

        read = await self.ask(app, "POST", "/llm/v1/chat/completions", json=ASK)
        passed = await self.ask(app, "POST", "/llm/v1/files", json={}, headers={"x-llmgate-route": "up"})
        health = await self.ask(app, "GET", "/llm/health")

        assert [200, 200, 200] == [read.status_code, passed.status_code, health.status_code]
        assert ["/v1/chat/completions", "/v1/files"] == [request.path for request in server.requests]
        assert "ok" == health.json()["status"]
        await gateway.aio.close()

    async def test_strangers(self, server: ScriptedServer) -> None:
        """
        Without keys nobody from elsewhere is served, unless whoever mounts it says that they were looked at.
        """
        server.always(chat("hello"))
        gateway = Gateway(config(server))
        found = [
            (await self.ask(app, "POST", "/v1/chat/completions", client, json=ASK)).status_code
            for app in (gateway.asgi(), gateway.asgi(trusted=True))
            for client in ("127.0.0.1", "::1", "10.0.0.7")
        ]

        assert [200, 200, 403, 200, 200, 200] == found
        await gateway.aio.close()

    async def test_its_life(self, server: ScriptedServer) -> None:
        """
        A server's shutdown closes the gateway.
        """
        gateway = Gateway(config(server))
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        said: list[Any] = []

        async def receive() -> Any:
            return next(events)

        async def send(message: Any) -> None:
            said.append((message["type"], gateway.health()["status"]))

        await gateway.asgi()({"type": "lifespan"}, receive, send)

        assert [("lifespan.startup.complete", "ok"), ("lifespan.shutdown.complete", "closed")] == said

    async def test_no_websocket(self, server: ScriptedServer) -> None:
        """
        Nothing is spoken over WebSockets.
        """
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            said.append(message["type"])

        await Gateway(config(server)).asgi()({"type": "websocket"}, receive, send)

        assert ["websocket.close"] == said

    @pytest.mark.parametrize("kind", [ZeroDivisionError, ConfigError])
    async def test_what_breaks(self, server: ScriptedServer, kind: type[Exception]) -> None:
        """
        What is nobody's fault but ours is a 500 that tells nothing, and whoever runs the server gets the exception.
        """

        async def broken(call: Any, call_next: Any) -> Any:
            raise kind("sk-secret-0123456789")

        app = Gateway(config(server), middleware=[broken]).asgi()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as asking:
            answer = await asking.post("/v1/messages", json={**ASK, "max_tokens": 1})
        with pytest.raises(kind):
            await self.ask(app, "POST", "/v1/messages", json={**ASK, "max_tokens": 1})

        assert (500, "error") == (answer.status_code, answer.json()["type"])
        assert "secret" not in answer.text


def test_where_it_may_listen(server: ScriptedServer) -> None:
    """
    Keys let it listen anywhere; without them a server is not even made.
    """
    open_ = ServerSettings.model_validate({"host": "0.0.0.0", **keys(alice="sk-llmgate-1")})

    assert server_of(Gateway(config(server)), open_) is not None
    with pytest.raises(ConfigError, match=r"server\.keys: others can reach"):
        server_of(Gateway(config(server)), ServerSettings(host="0.0.0.0"))
