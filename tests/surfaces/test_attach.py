"""Clients of SDKs as they stand, attached to a gateway: whose traffic goes where, and that everything can be put back."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from llmgate import ConfigError, Gateway
from llmgate.testing import ScriptedServer, anthropic_message, chat, error, http_response
from tests.conftest import Colour
from tests.surfaces.sdks import HELLO, config

OWN_KEY = "sk-own-0123456789abcdef"
GEMINI = {"candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}, "finishReason": "STOP"}]}
COHERE = {
    "id": "1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
    "usage": {"tokens": {"input_tokens": 1, "output_tokens": 1}},
}
OLLAMA = {"model": "own-model", "message": {"role": "assistant", "content": "hi"}, "done": True, "done_reason": "stop"}


class Package:
    """
    One SDK.

    Attributes:
        make: A client of a colour for an address, which would try again by itself.
        ask: What comes of asking it for a model's answer.
        answer: What its own upstream answers, and where it is asked.
        text: The text of what came.
        key: The header that the key is in.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[bool, str], Any],
        ask: Callable[[Any, bool, str], Any],
        text: Callable[[Any], str],
        answer: Any = None,
        path: str = "/v1/chat/completions",
        key: tuple[str, str] = ("authorization", f"Bearer {OWN_KEY}"),
        copies: bool = False,
    ) -> None:
        self.name = name
        self.make, self.ask, self.text = make, ask, text
        self.answer = answer or chat("hi")
        self.path, self.key, self.copies = path, key, copies

    def __repr__(self) -> str:
        return self.name


def _stainless(name: str) -> Callable[[bool, str], Any]:
    def make(blocking: bool, origin: str) -> Any:
        module = pytest.importorskip(name)
        cls = getattr(module, CLASSES[name][0 if blocking else 1])
        return cls(api_key=OWN_KEY, base_url=origin + CLASSES[name][2], max_retries=2)

    return make


CLASSES = {
    "openai": ("OpenAI", "AsyncOpenAI", "/v1"),
    "anthropic": ("Anthropic", "AsyncAnthropic", ""),
    "groq": ("Groq", "AsyncGroq", ""),
    "together": ("Together", "AsyncTogether", ""),
}


def _complete(client: Any, blocking: bool, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=HELLO)


def _content(answer: Any) -> str:
    text: str = answer.choices[0].message.content
    return text


def _azure(blocking: bool, origin: str) -> Any:
    make: Any = openai.AzureOpenAI if blocking else openai.AsyncAzureOpenAI
    return make(api_key=OWN_KEY, azure_endpoint=origin, api_version="2024-10-21", max_retries=2)


def _vertex(blocking: bool, origin: str) -> Any:
    make: Any = anthropic.AnthropicVertex if blocking else anthropic.AsyncAnthropicVertex
    return make(access_token=OWN_KEY, project_id="p", region="europe-west1", base_url=f"{origin}/v1", max_retries=2)


def _google(blocking: bool, origin: str) -> Any:
    genai = pytest.importorskip("google.genai")
    options = genai.types.HttpOptions(
        base_url=origin, timeout=60_000, retry_options=genai.types.HttpRetryOptions(attempts=3, initial_delay=0.01)
    )
    return genai.Client(api_key=OWN_KEY, http_options=options)


def _mistral(blocking: bool, origin: str) -> Any:
    client = pytest.importorskip("mistralai.client")
    utils = pytest.importorskip("mistralai.client.utils")
    again = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 2, 1.5, 1000), True)
    return client.Mistral(api_key=OWN_KEY, server_url=origin, retry_config=again, timeout_ms=60_000)


def _cohere(blocking: bool, origin: str) -> Any:
    cohere = pytest.importorskip("cohere")
    return (cohere.ClientV2 if blocking else cohere.AsyncClientV2)(api_key=OWN_KEY, base_url=origin)


def _ollama(blocking: bool, origin: str) -> Any:
    ollama = pytest.importorskip("ollama")
    make = ollama.Client if blocking else ollama.AsyncClient
    return make(host=origin, headers={"authorization": f"Bearer {OWN_KEY}"})


def _chat_openai(blocking: bool, origin: str) -> Any:
    cls = pytest.importorskip("langchain_openai").ChatOpenAI
    return cls(model="m", api_key=OWN_KEY, base_url=f"{origin}/v1", max_retries=2)


def _chat_anthropic(blocking: bool, origin: str) -> Any:
    cls = pytest.importorskip("langchain_anthropic").ChatAnthropic
    client = cls(model="m", api_key=OWN_KEY, base_url=origin, max_retries=2)
    assert client._client and client._async_client  # it makes them on their first use
    return client


def _bare(library: Any) -> Callable[[bool, str], Any]:
    def make(blocking: bool, origin: str) -> Any:
        cls = library.Client if blocking else library.AsyncClient
        return cls(base_url=origin, headers={"authorization": f"Bearer {OWN_KEY}"})

    return make


def _post(client: Any, blocking: bool, model: str) -> Any:
    return client.post("/v1/chat/completions", json={"model": model, "messages": HELLO})


class Wrapping:
    """Somebody's own client, which nobody knows, with an HTTP client in it."""

    def __init__(self, blocking: bool, origin: str) -> None:
        self.session = _bare(httpx2)(blocking, origin)
        self.max_retries = 2


PACKAGES = [
    Package("openai", _stainless("openai"), _complete, _content, copies=True),
    Package(
        "openai, azure", _azure, _complete, _content, copies=True, key=("api-key", OWN_KEY),
        path="/openai/deployments/own-model/chat/completions",
    ),
    Package(
        "anthropic", _stainless("anthropic"),
        lambda client, blocking, model: client.messages.create(model=model, max_tokens=9, messages=HELLO),
        lambda answer: answer.content[0].text, anthropic_message("hi"), "/v1/messages", copies=True,
    ),
    Package(
        "anthropic, vertex", _vertex,
        lambda client, blocking, model: client.messages.create(model=model, max_tokens=9, messages=HELLO),
        lambda answer: answer.content[0].text, anthropic_message("hi"),
        "/v1/projects/p/locations/europe-west1/publishers/anthropic/models/own-model:rawPredict", copies=True,
    ),
    Package("groq", _stainless("groq"), _complete, _content, path="/openai/v1/chat/completions", copies=True),
    Package("together", _stainless("together"), _complete, _content, copies=True),
    Package(
        "google-genai", _google,
        lambda client, blocking, model: (client if blocking else client.aio).models.generate_content(
            model=model, contents="hello"
        ),
        lambda answer: answer.text, http_response(200, GEMINI), "/v1/models/own-model:generateContent",
        ("x-goog-api-key", OWN_KEY),
    ),
    Package(
        "mistralai", _mistral,
        lambda client, blocking, model: (client.chat.complete if blocking else client.chat.complete_async)(
            model=model, messages=HELLO
        ),
        _content,
    ),
    Package(
        "cohere", _cohere, lambda client, blocking, model: client.chat(model=model, messages=HELLO),
        lambda answer: answer.message.content[0].text, http_response(200, COHERE), "/v2/chat",
    ),
    Package(
        "ollama", _ollama, lambda client, blocking, model: client.chat(model=model, messages=HELLO),
        lambda answer: answer.message.content, http_response(200, OLLAMA), "/api/chat",
    ),
    Package(
        "langchain-openai", _chat_openai,
        lambda client, blocking, model: (client.invoke if blocking else client.ainvoke)("hello", model=model),
        lambda answer: answer.content,
    ),
    Package(
        "langchain-anthropic", _chat_anthropic,
        lambda client, blocking, model: (client.invoke if blocking else client.ainvoke)("hello", model=model),
        lambda answer: answer.content, anthropic_message("hi"), "/v1/messages",
    ),
    Package("httpx", _bare(httpx), _post, lambda answer: answer.json()["choices"][0]["message"]["content"], copies=True),
    Package("httpx2", _bare(httpx2), _post, lambda answer: answer.json()["choices"][0]["message"]["content"], copies=True),
    Package(
        "unknown", Wrapping, lambda client, blocking, model: _post(client.session, blocking, model),
        lambda answer: answer.json()["choices"][0]["message"]["content"],
    ),
]  # fmt: skip

every = pytest.mark.parametrize("package", PACKAGES, ids=repr)


@every
class TestAttach:
    def test_keeps_the_upstream_and_the_key(self, colour: Colour, server: ScriptedServer, package: Package) -> None:
        """
        Without any configuration a client is answered by its own upstream, as it would be without a gateway.
        """
        server.answer(package.answer)
        gateway = colour.gateway()
        client = gateway.attach(package.make(colour.blocking, server.origin))

        answer = colour.do(package.ask(client, colour.blocking, "own-model"))

        header, key = package.key
        sent = server.requests[0]
        assert ("hi", package.path, key) == (package.text(answer), sent.path, sent.headers[header])
        assert 1 == gateway.stats().calls

    def test_leaves_retries_to_the_gateway(self, colour: Colour, server: ScriptedServer, package: Package) -> None:
        """
        As many attempts as the gateway makes, and one call: the client's own retries and timeouts are off.
        """
        server.always(error(503, headers={"retry-after": "0"}))
        gateway = colour.gateway({"retry": {"max_attempts": 2, "base_delay": 0.001, "max_delay": 0.01}})
        client = gateway.attach(package.make(colour.blocking, server.origin))

        try:
            answer = colour.do(package.ask(client, colour.blocking, "own-model"))
        except Exception:
            answer = None  # each package has an exception of its own

        assert answer is None or answer.status_code == 503
        assert (1, 2) == (gateway.stats().calls, len(server.requests))

    def test_knows_the_routes(self, colour: Colour, server: ScriptedServer, package: Package) -> None:
        """
        Names of routes go where they lead, with that provider's key and none of the client's.
        """
        server.answer(chat("hi"))
        gateway = colour.gateway(config(server))
        client = gateway.attach(package.make(colour.blocking, "http://127.0.0.1:9"))

        answer = colour.do(package.ask(client, colour.blocking, "fast"))

        assert package.text(answer)
        assert "m" == server.requests[0].json()["model"]
        assert OWN_KEY not in repr(server.requests[0].headers)

    def test_once_is_enough(self, colour: Colour, server: ScriptedServer, package: Package) -> None:
        """
        What is attached stays as it is; another gateway is told so.
        """
        gateway, other = colour.gateway(), colour.gateway()
        client = gateway.attach(package.make(colour.blocking, server.origin))

        assert client is gateway.attach(client)
        with pytest.raises(ConfigError, match="attached to another gateway"):
            other.attach(client)
        with pytest.raises(ConfigError, match="not attached to this gateway"):
            other.detach(client)

    def test_detach_puts_everything_back(self, colour: Colour, server: ScriptedServer, package: Package) -> None:
        """
        The very client that was attached comes back, with everything in it that was there.
        """
        gateway = colour.gateway()
        client = package.make(colour.blocking, server.origin)
        before = inside(client)

        attached = gateway.attach(client)
        same = inside(client)
        back = gateway.detach(attached)

        assert package.copies == (before == same) == (attached is not client)
        assert (client, before) == (back, inside(back))
        with pytest.raises(ConfigError, match="not attached"):
            gateway.detach(back)


def inside(thing: Any, depth: int = 4, path: str = "") -> dict[str, int]:
    """The identity of all that a client holds, by the path to it."""
    found: dict[str, int] = {}
    for name, value in getattr(thing, "__dict__", {}).items():
        if not isinstance(value, type) and name not in ("parent_ref",):
            found[f"{path}.{name}"] = id(value)
            if depth and not isinstance(value, httpx.Client | httpx2.Client):
                found |= inside(value, depth - 1, f"{path}.{name}")
    return found


class Loud(httpx2.Client):
    """Somebody's own kind of HTTP client, which sends past its transport."""

    def send(self, request: Any, **options: Any) -> Any:
        raise AssertionError("it sent by itself")


class TestHTTPClients:
    def test_keep_what_is_theirs(self, server: ScriptedServer) -> None:
        """
        Headers, queries, cookies, base URL and event hooks stay, each its own from then on; what sends does not.
        """
        server.answer(chat("hi"))
        seen: list[str] = []
        hooks = {
            "request": [lambda request: seen.append(request.method)],
            "response": [lambda answer: seen.append("answer")],
        }
        before = Loud(
            base_url=server.base_url, headers={"x-mine": "a"}, cookies={"c": "1"}, params={"q": "2"}, event_hooks=hooks,
            follow_redirects=True, max_redirects=3, auth=("name", "word"), proxy="http://127.0.0.1:9",
        )  # fmt: skip

        with Gateway() as gateway:
            client = gateway.attach(before)
            client.headers["x-mine"] = "b"
            answer = client.post("/chat/completions", json={"model": "m", "messages": HELLO})

        sent = server.requests[0]
        assert (200, ["POST", "answer"], "a") == (answer.status_code, seen, before.headers["x-mine"])
        assert ("b", "c=1", "q=2") == (sent.headers["x-mine"], sent.headers["cookie"], sent.query)
        assert sent.headers["authorization"].startswith("Basic ")
        assert (True, 3) == (client.follow_redirects, client.max_redirects)

    def test_wait_as_long_as_the_gateway_does(self) -> None:
        """
        The five seconds that both libraries wait by default are no answer's deadline.
        """
        with Gateway() as gateway:
            assert httpx2.Timeout(None) == gateway.attach(httpx2.Client()).timeout
            assert httpx.Timeout(None) == gateway.attach(httpx.Client()).timeout


class TestAmazon:
    def test_is_asked_with_a_key(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Anthropic's client for Bedrock passes through, unread, if it has a key.
        """
        server.answer(anthropic_message("hi"))
        make: Any = anthropic.AnthropicBedrock if colour.blocking else anthropic.AsyncAnthropicBedrock
        client = colour.gateway().attach(make(api_key=OWN_KEY, aws_region="eu-west-1", base_url=server.origin))

        answer = colour.do(client.messages.create(model="claude", max_tokens=9, messages=HELLO))

        sent = server.requests[0]
        assert ("hi", "/model/claude/invoke") == (answer.content[0].text, sent.path)
        assert f"Bearer {OWN_KEY}" == sent.headers["authorization"]

    def test_signed_requests_are_refused(self, server: ScriptedServer) -> None:
        """
        What was signed would not arrive as it was signed; that is said, and nobody is asked.
        """
        signed = {
            "authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20261121/eu-west-1/bedrock/aws4_request, Signature=0"
        }

        with Gateway() as gateway:
            answer = gateway.attach(httpx2.Client()).post(f"{server.origin}/model/m/invoke", json={}, headers=signed)

        assert (400, 0) == (answer.status_code, len(server.requests))
        assert "kind: bedrock" in answer.text


class TestGoogle:
    def test_takes_what_was_in_use(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Parts that have an HTTP client of their own since their first use go through the gateway, too.
        """
        genai = pytest.importorskip("google.genai")
        options = genai.types.HttpOptions(base_url=server.origin)
        client = genai.Client(api_key=OWN_KEY, http_options=options)
        used = client.interactions if colour.blocking else client.aio.interactions
        server.always(error(503, headers={"retry-after": "0"}))
        gateway = colour.gateway({"retry": {"max_attempts": 1}})

        attached = gateway.attach(client)
        part = attached.interactions if colour.blocking else attached.aio.interactions
        with pytest.raises(Exception, match="503"):
            colour.do(part.create(model="m", input="hello"))

        assert (1, 1) == (gateway.stats().calls, len(server.requests))
        gateway.detach(client)
        assert used is (client.interactions if colour.blocking else client.aio.interactions)

    def test_its_other_half_is_the_same(self) -> None:
        """
        `client.aio` is no client apart: to attach it is to attach both.
        """
        genai = pytest.importorskip("google.genai")
        client = genai.Client(api_key=OWN_KEY)

        with Gateway() as gateway:
            assert client.aio is gateway.attach(client.aio)
            assert client is gateway.attach(client)
            gateway.detach(client.aio)
            with pytest.raises(ConfigError, match="not attached"):
                gateway.detach(client)


def test_a_derived_client_is_attached() -> None:
    """
    What an SDK makes of an attached client goes through the gateway, too; its own options hold.
    """
    with Gateway() as gateway:
        client = openai.OpenAI(api_key=OWN_KEY)
        attached = gateway.attach(client)
        derived = attached.with_options(timeout=3.0)

        assert derived is gateway.attach(derived)
        assert (0, 2, None, 3.0) == (attached.max_retries, client.max_retries, attached.timeout, derived.timeout)
        assert client is gateway.detach(derived)


@pytest.mark.parametrize("thing", [object(), "sk-key", openai])
def test_what_nobody_knows_is_refused(thing: Any) -> None:
    """
    Whatever is no client is refused, and what was looked for is told.
    """
    with Gateway() as gateway, pytest.raises(ConfigError) as caught:
        gateway.attach(thing)

    assert "openai" in caught.value.message
    assert "attributes is a client of httpx or httpx2" in caught.value.message


def test_a_client_without_its_http_client_is_refused() -> None:
    """
    Where an SDK keeps its HTTP client elsewhere than it did, it is told where that was looked for; nothing is changed.
    """
    client = pytest.importorskip("ollama").Client()
    client._client = None

    with Gateway() as gateway, pytest.raises(ConfigError, match="no HTTP client is at _client"):
        gateway.attach(client)


def test_what_cannot_be_attached_whole_stays_whole(server: ScriptedServer) -> None:
    """
    Where a part of a client cannot be changed, no part is.
    """

    class Stubborn(Wrapping):
        @property
        def max_retries(self) -> int:
            return 2

        @max_retries.setter
        def max_retries(self, value: int) -> None:
            if value != 2:
                raise TypeError("it insists")

    client = Stubborn(True, server.origin)
    session = client.session

    with Gateway() as gateway, pytest.raises(TypeError, match="it insists"):
        gateway.attach(client)

    assert session is client.session


def test_nothing_is_imported() -> None:
    """
    Clients are known by the names of their modules.
    """
    program = (
        "import sys, httpx2; from llmgate import Gateway; Gateway().attach(httpx2.Client());"
        "print(sorted({'openai', 'anthropic', 'groq', 'google.genai', 'cohere', 'ollama', 'httpx'} & set(sys.modules)))"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == printed.stdout.strip()


def test_an_attached_client_is_forgotten() -> None:
    """
    The gateway holds no client: who drops one has dropped it.
    """
    with Gateway() as gateway:
        attached = gateway.attach(openai.OpenAI(api_key=OWN_KEY))
        gone = weakref.ref(attached)

        del attached
        gc.collect()

        assert gone() is None
