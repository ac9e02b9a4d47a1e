"""Whatever is asked over HTTP, no answer shows a key, and no upstream sees a caller's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from hypothesis import given, settings, strategies as st

from llmgate import Gateway
from llmgate.policies.keyring import Keyring

UPSTREAM_KEY, PEPPER = "sk-upstream-0123456789abcdef", "pepper-0123456789"
CALLER, OPERATOR = "sk-llmgate-caller-0123456789", "sk-llmgate-operator-0123456789"
SECRETS = (UPSTREAM_KEY, PEPPER, CALLER, OPERATOR)

PATHS = st.sampled_from(
    ["/health", "/health/live", "/health/ready", "/metrics", "/v1/chat/completions", "/v1/messages", "/v1/models", "/v1/files",
     "/v1beta/models/up/m:generateContent", "/v1beta/models/up/m:streamGenerateContent", "/api/chat", "/v2/chat", "/v1/responses",
     "/", "/v1/../x", "/v1/embeddings", "/v1/messages/count_tokens"]
) | st.text("/abc.%:", max_size=12).map(lambda text: f"/{text}")  # fmt: skip
KEYS = st.sampled_from(["", CALLER, OPERATOR, CALLER, OPERATOR, "sk-unknown-0123456789"])
PLACES = st.sampled_from(["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-company-key", "?key="])
MORE = st.dictionaries(
    st.sampled_from(["x-llmgate-route", "x-llmgate-tenant", "x-llmgate-tags", "anthropic-version", "origin", "expect"]),
    st.sampled_from(["up", "fast", "up/m", "acme", "a=b", "2023-06-01", "https://evil.example"]),
)
CHAT = b'{"model": "fast", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}'
STREAM = b'{"model": "up/m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "stream": true}'
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
ASKED = st.tuples(METHODS, PATHS, st.sampled_from([b"", b"{", b"[]", CHAT])) | st.sampled_from(
    [
        ("POST", "/v1/chat/completions", CHAT),
        ("POST", "/v1/chat/completions", STREAM),
        ("POST", "/v1/messages", CHAT),
        ("POST", "/v1/messages", STREAM),
        (
            "POST",
            "/v1beta/models/fast:generateContent",
            b'{"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}',
        ),
        ("POST", "/api/chat", CHAT),
        ("GET", "/v1/models", b""),
        ("POST", "/v1/files", b"{}"),
    ]
)
"""What is asked: anything at all, and what an upstream is asked for."""


async def exchanged(app: Any, method: str, path: str, query: str, lines: dict[str, str], body: bytes) -> bytes:
    """Everything that an application says to a request."""
    headers = [(name.encode(), value.encode()) for name, value in lines.items()]
    headers.append((b"content-length", b"%d" % len(body)))
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": headers, "client": ("10.0.0.7", 1), "scheme": "http",
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    said: list[bytes] = []

    async def receive() -> Any:
        for message in messages:
            return message
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.extend(part for line in message.get("headers", ()) for part in line)
        said.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"\n".join(said)


@settings(max_examples=150, deadline=None)
@given(
    asked=ASKED, key=KEYS, place=PLACES, more=MORE, status=st.sampled_from([200, 400, 401, 500]),
)  # fmt: skip
def test_no_answer_shows_a_key(
    asked: tuple[str, str, bytes], key: str, place: str, more: dict[str, str], status: int
) -> None:
    """
    No path, method, header, body or upstream's answer brings a key, a pepper or another's key into an answer's head or
    body; and the upstream is shown its own key alone.
    """
    method, path, body = asked
    seen: list[httpx.Request] = []

    def upstream(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        # What it repeats is what it was sent, in the way of careless servers.
        return httpx.Response(status, json={"error": {"message": f"refused {request.headers['authorization']}"}})

    async def ask() -> bytes:
        hash_of = {
            name: {"name": name, "hash": Keyring.hash_of(PEPPER, secret), "operator": secret == OPERATOR}
            for name, secret in (("caller", CALLER), ("operator", OPERATOR))
        }
        client = httpx.AsyncClient(transport=httpx.MockTransport(upstream))
        up: Any = {
            "kind": "openai-compatible", "base_url": "https://up.example/v1", "api_key": UPSTREAM_KEY,
            "async_http_client": client,
        }  # fmt: skip
        gateway = Gateway(
            {
                "providers": {"up": up},
                "routes": {"fast": ["up/m"]},
                "retry": {"max_attempts": 1},
                "server": {"pepper": PEPPER, "key_header": "x-company-key", "keys": list(hash_of.values())},
            }
        )
        query, lines = "", dict(more)
        if key and place == "?key=":
            query = f"key={key}"
        elif key:
            lines[place] = f"Bearer {key}" if place == "authorization" else key
        async with client:
            said = await exchanged(gateway.asgi(), method, path, query, lines, body)
            await gateway.aio.close()
        return said

    said = asyncio.run(ask()).decode("latin-1")

    passed = bool(seen) and "x-llmgate-route" in more  # unread is unread
    assert not [secret for secret in SECRETS if secret in said and not (passed and secret == UPSTREAM_KEY)]
    for request in seen:
        sent = f"{request.url}{request.headers}{request.content!r}"
        assert not [secret for secret in (PEPPER, CALLER, OPERATOR, "sk-unknown") if secret in sent]
    assert bool(seen) <= (key in (CALLER, OPERATOR))
