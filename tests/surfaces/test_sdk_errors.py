"""Errors arrive as the SDK's own exceptions, with the fields that code looks at, and are tried again by nobody."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from llmgate import BudgetExceeded, ContentFiltered, GatewayClosed, GatewayError
from llmgate.testing import Close, Hang, Reset, ScriptedServer, anthropic_error, chat, error, raw, stream
from tests.conftest import Colour
from tests.surfaces.sdks import HELLO, anthropic_on, config, openai_on


def said(message: str, type: str = "invalid_request_error", code: str | None = None, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


CASES = {
    "bad request": (
        error(400, said("temperature: at most 2", param="temperature", code="invalid_value")),
        (openai.BadRequestError, 400, "invalid_value", "temperature"),
        (anthropic.BadRequestError, 400, "invalid_request_error"),
    ),
    "unprocessable": (
        error(422, said("no such value")),
        (openai.UnprocessableEntityError, 422, "invalid_request_error", None),
        (anthropic.UnprocessableEntityError, 422, "invalid_request_error"),
    ),
    "too long": (
        error(400, said("maximum context length is 9 tokens", code="context_length_exceeded", param="messages")),
        (openai.BadRequestError, 400, "context_length_exceeded", "messages"),
        (anthropic.BadRequestError, 400, "invalid_request_error"),
    ),
    "content": (
        error(400, said("the content filter was triggered", code="content_filter")),
        (openai.BadRequestError, 400, "content_filter", None),
        (anthropic.BadRequestError, 400, "invalid_request_error"),
    ),
    "key": (
        error(401, said("Incorrect API key provided", code="invalid_api_key")),
        (openai.AuthenticationError, 401, "invalid_api_key", None),
        (anthropic.AuthenticationError, 401, "authentication_error"),
    ),
    "permission": (
        error(403, said("not for you")),
        (openai.PermissionDeniedError, 403, "permission_denied", None),
        (anthropic.PermissionDeniedError, 403, "permission_error"),
    ),
    "model": (
        error(404, said("The model `m` does not exist", code="model_not_found")),
        (openai.NotFoundError, 404, "model_not_found", None),
        (anthropic.NotFoundError, 404, "not_found_error"),
    ),
    "rate": (
        error(429, said("too fast", type="requests", code="rate_limit_exceeded"), {"retry-after": "7"}),
        (openai.RateLimitError, 429, "rate_limit_exceeded", None),
        (anthropic.RateLimitError, 429, "rate_limit_error"),
    ),
    "quota": (
        error(429, said("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota")),
        (openai.RateLimitError, 429, "insufficient_quota", None),
        (anthropic.APIStatusError, 402, "billing_error"),
    ),
    "broken": (
        error(500),
        (openai.InternalServerError, 502, "upstream_error", None),
        (anthropic.InternalServerError, 500, "api_error"),
    ),
    "overloaded": (
        error(503, said("try later", type="server_error")),
        (openai.InternalServerError, 503, "server_is_overloaded", None),
        (anthropic.APIStatusError, 529, "overloaded_error"),
    ),
    "nonsense": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]"),
        (openai.InternalServerError, 502, "protocol_error", None),
        (anthropic.InternalServerError, 502, "api_error"),
    ),
    "connection": (
        raw(Reset()),
        (openai.InternalServerError, 502, "connection_failed", None),
        (anthropic.InternalServerError, 502, "api_error"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_openai(colour: Colour, server: ScriptedServer, case: str) -> None:
    """
    What an upstream does wrong raises the class, the status, the code and the parameter that OpenAI's server would say.
    """
    script, (kind, status, code, param), _ = CASES[case]
    server.always(script)
    client = openai_on(colour, colour.gateway(config(server)))

    with pytest.raises(openai.APIStatusError) as caught:
        colour.do(client.chat.completions.create(model="fast", messages=HELLO))

    raised = caught.value
    assert (kind, status, code, param) == (type(raised), raised.status_code, raised.code, raised.param)
    assert raised.message
    assert 1 == len(server.requests) or case == "connection"
    assert ("false", "up/m", "1") == (
        raised.response.headers["x-should-retry"],
        raised.response.headers["x-llmgate-deployment"],
        raised.response.headers["x-llmgate-attempts"],
    )


@pytest.mark.parametrize("case", CASES)
def test_anthropic(colour: Colour, server: ScriptedServer, case: str) -> None:
    """
    The same in Anthropic's words, whoever the upstream is.
    """
    script, _, (kind, status, type_) = CASES[case]
    server.always(script)
    client = anthropic_on(colour, colour.gateway(config(server)))

    with pytest.raises(anthropic.APIStatusError) as caught:
        colour.do(client.messages.create(model="fast", max_tokens=9, messages=HELLO))

    raised: Any = caught.value
    assert isinstance(raised, kind)
    assert (status, type_) == (raised.status_code, raised.body["error"]["type"])
    assert 1 == len(server.requests) or case == "connection"


def test_a_wish_to_wait_is_passed_on(colour: Colour, server: ScriptedServer) -> None:
    """
    Code that sleeps as long as the server asks still can, and the upstream's id of the request is there for its support.
    """
    server.always(CASES["rate"][0])
    client = openai_on(colour, colour.gateway(config(server)))

    with pytest.raises(openai.RateLimitError) as caught:
        colour.do(client.chat.completions.create(model="fast", messages=HELLO))

    assert ("7", "req_scripted", "req_scripted") == (
        caught.value.response.headers["retry-after"],
        caught.value.response.headers["x-request-id"],
        caught.value.request_id,
    )


def test_anthropics_own_error(colour: Colour, server: ScriptedServer) -> None:
    """
    An overloaded Anthropic is an overloaded Anthropic to its own client, with the id of the request.
    """
    server.always(anthropic_error(529, "overloaded_error", "Overloaded"))
    client = anthropic_on(colour, colour.gateway(config(server, "anthropic")))

    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        colour.do(client.messages.create(model="fast", max_tokens=9, messages=HELLO))

    assert (529, "req_scripted") == (caught.value.status_code, caught.value.request_id)


@pytest.mark.parametrize(
    ("sections", "status", "kind"),
    [
        ({"rate_limit": [{"requests_per_minute": 1, "on_limit": "reject"}]}, 429, openai.RateLimitError),
        ({"circuit_breaker": {"threshold": 1, "timeout": "60s"}}, 503, openai.InternalServerError),
    ],
    ids=["limit", "circuit"],
)
def test_a_refusal_of_the_gateway(
    colour: Colour, server: ScriptedServer, sections: Any, status: int, kind: type[Exception]
) -> None:
    """
    A limit and an open circuit look like an upstream that wants to be left alone, and say for how long.
    """
    server.always(error(500))
    client = openai_on(colour, colour.gateway(config(server, **sections)))
    with pytest.raises(openai.InternalServerError):
        colour.do(client.chat.completions.create(model="fast", messages=HELLO))

    with pytest.raises(kind) as caught:
        colour.do(client.chat.completions.create(model="fast", messages=HELLO))

    raised: Any = caught.value
    assert status == raised.status_code
    assert 0 < float(raised.response.headers["retry-after"]) <= 90
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    ("ours", "status", "code"),
    [
        (BudgetExceeded("the money is gone"), 402, "insufficient_quota"),
        (ContentFiltered("a secret in the prompt"), 400, "content_filter"),
        (GatewayError("something else"), 500, "gateway_error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_middleware_raises(
    colour: Colour, server: ScriptedServer, ours: GatewayError, status: int, code: str
) -> None:
    """
    Whatever a layer refuses with leaves in the caller's dialect, too.
    """

    async def refusing(call: Any, call_next: Any) -> Any:
        raise ours

    client = openai_on(colour, colour.gateway(config(server), middleware=[refusing]))

    with pytest.raises(openai.APIStatusError, match=ours.message) as caught:
        colour.do(client.chat.completions.create(model="fast", messages=HELLO))

    assert (status, code) == (caught.value.status_code, caught.value.code)


def test_a_closed_gateway(colour: Colour, server: ScriptedServer) -> None:
    """
    After `close` an SDK is told that nobody is there any more.
    """
    gateway = colour.gateway(config(server))
    client = openai_on(colour, gateway)
    colour.close(gateway)

    with pytest.raises(openai.InternalServerError, match="closed") as caught:
        colour.do(client.chat.completions.create(model="fast", messages=HELLO))

    assert (503, GatewayClosed.kind) == (caught.value.status_code, caught.value.code)


def test_several_failures_are_told_as_the_most_telling(colour: Colour, server: ScriptedServer) -> None:
    """
    Of a fallback that failed, too, the SDK raises what says most; all of it is in the message.
    """
    server.answer(error(500), CASES["rate"][0])
    routes = {"both": ["up/a", "up/b"]}
    client = openai_on(colour, colour.gateway(config(server, routes=routes)))

    with pytest.raises(openai.RateLimitError) as caught:
        colour.do(client.chat.completions.create(model="both", messages=HELLO))

    assert ("2", "7") == (
        caught.value.response.headers["x-llmgate-attempts"],
        caught.value.response.headers["retry-after"],
    )


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b""], ids=repr)
def test_a_body_that_is_none(colour: Colour, server: ScriptedServer, body: bytes) -> None:
    """
    What is no JSON object is refused before anybody is asked.
    """
    gateway = colour.gateway(config(server))
    client = openai_on(colour, gateway)._client

    answer = colour.do(
        client.post("http://llmgate/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    )

    assert (400, "invalid_request_error") == (answer.status_code, answer.json()["error"]["type"])
    assert [] == server.requests


def test_an_error_before_the_first_event_is_a_status(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream that could not begin raises where it is asked for, and was tried again before.
    """
    server.answer(raw(Close()), error(503), error(401))
    retry = {"max_attempts": 3, "base_delay": 0, "max_delay": 0}
    client = openai_on(colour, colour.gateway(config(server, retry=retry)))

    with pytest.raises(openai.AuthenticationError):
        colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True))


def test_no_key_is_repeated(colour: Colour, server: ScriptedServer) -> None:
    """
    An upstream that repeats the client's own key says it to nobody.
    """
    key = "my-very-own-key-without-a-usual-form"
    server.always(error(401, said(f"Incorrect API key provided: {key}")))
    client = openai_on(colour, colour.gateway(), server.base_url, api_key=key)

    with pytest.raises(openai.AuthenticationError) as caught:
        colour.do(client.chat.completions.create(model="gpt-x", messages=HELLO))

    assert key not in str(caught.value)


def test_a_deadline_in_the_middle_of_a_stream(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream that ran out of the call's own time raises, too.
    """
    server.answer(stream(["one", "two"], cut_after=1, ending=Hang()), chat("hi"))
    client = openai_on(colour, colour.gateway(config(server)))

    with pytest.raises(openai.APIError, match="time ran out"):
        headers = {"x-llmgate-timeout": "300ms"}
        colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True, extra_headers=headers))
