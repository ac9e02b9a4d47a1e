"""Keys that live for minutes are asked for before each request, in both colours, and shown to nobody."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llmgate import (
    AuthenticationFailed,
    AzureOpenAI,
    ConfigError,
    Gateway,
    OpenAI,
    OpenAICompatible,
    UpstreamTimeout,
    VertexAI,
)
from llmgate.providers.tokens import Token
from llmgate.testing import ScriptedServer, chat, error

from ..conftest import Colour

SECRET = "eyJ0-a-token-that-nobody-may-see"


def plain(tokens: Callable[[], str]) -> Callable[[], str]:
    return tokens


def waiting(tokens: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        await asyncio.sleep(0)
        return tokens()

    return ask


def disguised(tokens: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    ask = waiting(tokens)
    return lambda: ask()


KINDS = pytest.mark.parametrize("kind", [plain, waiting, disguised])


def numbered() -> Callable[[], str]:
    numbers = iter(range(1, 100))
    return lambda: f"token-{next(numbers)}"


@KINDS
def test_each_request_has_the_token_of_its_moment(colour: Colour, server: ScriptedServer, kind: Any) -> None:
    """
    A function, of either colour, is asked for each request, retries included, by calls of either colour.
    """
    server.answer(chat("one"), error(500), chat("two"))
    up = OpenAI(name="up", api_key=kind(numbered()), base_url=server.base_url)
    gateway = colour.gateway({"retry": {"base_delay": 0}}, providers=[up])

    assert ["one", "two"] == [colour.chat(gateway, "up/m").text for _ in range(2)]
    assert [f"Bearer token-{number}" for number in (1, 2, 3)] == [r.headers["authorization"] for r in server.requests]


@KINDS
@pytest.mark.parametrize("options", [{}, {"api_version": "2024-10-21"}])
def test_azure_takes_tokens_of_entra_id(
    colour: Colour, server: ScriptedServer, kind: Any, options: dict[str, str]
) -> None:
    """
    On Azure a token travels as a bearer's, at either sort of path, where a key has a header of Azure's own.
    """
    server.answer(chat("hi"), chat("hi"))
    azure = AzureOpenAI(name="azure", api_key=kind(numbered()), base_url=server.origin, **options)
    keyed = AzureOpenAI(name="keyed", api_key="a-key", base_url=server.origin, **options)
    gateway = colour.gateway(providers=[azure, keyed])
    colour.chat(gateway, "azure/gpt")
    colour.chat(gateway, "keyed/gpt")

    with_token, with_key = (request.headers for request in server.requests)
    assert ("Bearer token-1", None) == (with_token["authorization"], with_token.get("api-key"))
    assert (None, "a-key") == (with_key.get("authorization"), with_key["api-key"])


def test_functions_may_stand_beside_keys(server: ScriptedServer) -> None:
    """
    Of several keys each may be a function, and each is a deployment that is told apart from the others.
    """
    up = OpenAI(name="up", api_key=[lambda: "a", "sk-plain", lambda: "b"], base_url=server.base_url)

    assert 3 == len({*up.credentials()})
    assert (
        up.credentials()
        == OpenAI(name="up", api_key=[lambda: "c", "sk-plain", lambda: "d"], base_url=server.base_url).credentials()
    )


def test_nobody_is_asked_before_it_is_needed() -> None:
    """
    Making a gateway, its health, its explanations and its checks ask no function.
    """

    def ask() -> str:
        raise AssertionError("asked")

    up = OpenAICompatible(name="up", api_key=ask, base_url="https://up.example/v1")
    with Gateway({"routes": {"fast": ["up/m"]}}, providers=[up]) as gateway:
        gateway.health()
        gateway.explain("fast")
        gateway.check()


def failing() -> str:
    raise OSError(f"no answer for {SECRET}")


@pytest.mark.parametrize("ask", [failing, waiting(failing), lambda: None, lambda: "", lambda: f"{SECRET}\n"])
def test_without_a_token_nothing_is_sent(colour: Colour, server: ScriptedServer, ask: Any) -> None:
    """
    A function that fails, or returns what can be no token, is a failed authentication that shows nothing.
    """
    gateway = colour.gateway(providers=[OpenAI(name="up", api_key=ask, base_url=server.base_url)])
    with pytest.raises(AuthenticationFailed, match="there is no access token") as raised:
        colour.chat(gateway, "up/m")

    assert "up/m" == raised.value.deployment
    assert SECRET not in str(raised.value)
    assert [] == server.requests


def test_a_function_that_never_answers_is_waited_for_no_longer_than_the_attempt(
    colour: Colour, server: ScriptedServer
) -> None:
    """
    The time for a token is the attempt's own.
    """

    async def ask() -> str:
        await asyncio.sleep(30)
        return "late"

    up = OpenAI(name="up", api_key=ask, base_url=server.base_url)
    gateway = colour.gateway({"timeouts": {"attempt": "50ms"}, "retry": {"enabled": False}}, providers=[up])

    with pytest.raises(UpstreamTimeout):
        colour.chat(gateway, "up/m")


def test_a_token_is_shown_to_nobody(colour: Colour, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """
    No repr, dump, log, health, error or frame holds a token, not even when the upstream repeats it.
    """
    server.always(error(401, {"error": {"message": f"wrong: {SECRET}", "code": SECRET}}))
    up = OpenAI(name="up", api_key=lambda: SECRET, base_url=server.base_url)
    gateway = colour.gateway(providers=[up])
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationFailed) as raised:
        colour.chat(gateway, "up/m")

    shown = [repr(up), str(up), str(up.model_dump()), up.model_dump_json(), repr(gateway), str(gateway.health())]
    shown += [repr(raised.value), str(raised.value.__dict__), *traceback.format_exception(raised.value)]
    shown += [log.getMessage() for log in caplog.records if log.name.startswith("llmgate")]
    assert not [text for text in shown if SECRET in text]
    assert f"Bearer {SECRET}" == server.requests[0].headers["authorization"]


def test_a_token_does_not_travel_otherwise() -> None:
    """
    A token is not copied, pickled or printed; before it was asked for it is nothing but a name.
    """
    token = Token(lambda: SECRET, "the account")

    assert "the account" == token.reveal()
    assert token is copy.deepcopy(token)
    assert Token(lambda: "another", "the account") == token != token.named("another account")
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(token)


def test_its_header_is_nobody_elses() -> None:
    """
    Whoever gives a function gives no header that would carry the token, too.
    """
    azure = AzureOpenAI(resource="r", api_key=lambda: SECRET, headers={"authorization": "mine"})

    with pytest.raises(ConfigError, match="authorization carries the key"):
        azure.bind("m")


def test_vertex_takes_both_names(server: ScriptedServer) -> None:
    """
    Vertex AI's `token` and its `api_key` take the same functions; the account is the project.
    """
    for options in ({"token": lambda: "t"}, {"api_key": lambda: "t"}):
        vertex = VertexAI(project="p", **options)
        assert [True] == [isinstance(secret, Token) for secret in vertex.secrets()]
