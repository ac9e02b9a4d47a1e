"""What an upstream has no words for, from the configuration to the answer: an error, or left out and told."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from llmgate import BadRequest, Gateway
from llmgate.testing import ScriptedServer, anthropic_message, anthropic_stream, chat, error
from tests.conftest import Colour

LEFT_OUT = "seed: the Messages API cannot express it; leave it out or name another provider"


def config(server: ScriptedServer, defaults: str | None = None, provider: str | None = None) -> dict[str, Any]:
    claude: dict[str, Any] = {"kind": "anthropic", "api_key": "k", "base_url": server.base_url}
    if provider is not None:
        claude["unsupported"] = provider
    openai = {"kind": "openai", "api_key": "k", "base_url": server.base_url}
    settings: dict[str, Any] = {
        "providers": {"claude": claude, "openai": openai},
        "routes": {"fast": ["claude/c"], "both": ["claude/c", "openai/o"]},
        "retry": {"max_attempts": 2, "base_delay": 0},
    }
    return settings | ({} if defaults is None else {"defaults": {"unsupported": defaults}})


@pytest.mark.parametrize(
    ("defaults", "provider", "call", "drops"),
    [
        (None, None, None, False),
        (None, None, "drop", True),
        ("drop", None, None, True),
        ("drop", None, "error", False),
        (None, "drop", None, True),
        ("drop", "error", "drop", False),
        ("error", "drop", "error", True),
    ],
)
def test_the_nearest_word_counts(
    colour: Colour, server: ScriptedServer, defaults: str | None, provider: str | None, call: str | None, drops: bool
) -> None:
    """
    A provider's own word comes first, then the call's, then what holds for all calls; nothing said is an error.
    """
    server.answer(anthropic_message("hi"))
    gateway = colour.gateway(config(server, defaults, provider))
    said = {} if call is None else {"unsupported": call}
    if drops:
        assert "hi" == colour.chat(gateway, seed=1, **said).text
        assert "seed" not in server.requests[0].json()
    else:
        with pytest.raises(BadRequest, match=LEFT_OUT):
            colour.chat(gateway, seed=1, **said)
        assert [] == server.requests


@pytest.mark.parametrize("streams", [False, True])
def test_what_was_left_out_is_told(
    colour: Colour, server: ScriptedServer, caplog: pytest.LogCaptureFixture, streams: bool
) -> None:
    """
    The answer's record of the attempt names it, and so does one warning. Who left out nothing is not warned of.
    """
    server.answer(*[anthropic_stream(["hi"]) if streams else anthropic_message("hi")] * 2)
    gateway = colour.gateway(config(server, "drop"))
    asked: list[dict[str, Any]] = [{"seed": 1, "n": 3, "temperature": 0}, {"temperature": 0}]
    for more in asked:
        with caplog.at_level(logging.WARNING, "llmgate"):
            answer = colour.read(gateway, **more)[0].response if streams else colour.chat(gateway, **more)

        if "seed" in more:
            assert (LEFT_OUT, LEFT_OUT.replace("seed", "n")) == answer.attempts[0].unsaid
    assert () == answer.attempts[0].unsaid
    assert [f"left out of a request to claude/c: {LEFT_OUT}; {LEFT_OUT.replace('seed', 'n')}"] == [
        record.getMessage() for record in caplog.records
    ]


def test_another_upstream_is_told_everything(colour: Colour, server: ScriptedServer) -> None:
    """
    Where the next one asked has the words, nothing is left out.
    """
    server.answer(error(529), chat("hi"))
    answer = colour.chat(colour.gateway(config(server, "drop")), "both", seed=1)

    assert [(), ()] == [attempt.unsaid for attempt in answer.attempts]
    assert ["c", "o"] == [request.json()["model"] for request in server.requests]
    assert 1 == server.requests[1].json()["seed"]


def test_who_wants_all_gets_no_answer_to_less(colour: Colour, server: ScriptedServer) -> None:
    """
    A kept answer to what was left of a question is no answer to the whole question.
    """
    server.answer(anthropic_message("hi"))
    gateway = colour.gateway(config(server) | {"cache": {"enabled": True}})

    assert ["hi", "hi"] == [colour.chat(gateway, seed=1, unsupported="drop").text for _ in range(2)]
    with pytest.raises(BadRequest):
        colour.chat(gateway, seed=1)
    assert 1 == len(server.requests)


def test_keys_tell_lenient_upstreams_apart(server: ScriptedServer) -> None:
    """
    A cache on a disk outlives a change of the configuration.
    """
    prints = []
    for provider in (None, "error", "drop"):
        with Gateway(config(server, None, provider)) as gateway:
            prints.append(gateway._current().routes["fast"].fingerprint)

    assert prints[0] == prints[1] != prints[2]


def test_a_scope_says_it_for_many(colour: Colour, server: ScriptedServer) -> None:
    """
    Inside of a scope it holds for every call that does not say otherwise.
    """
    server.answer(anthropic_message("hi"))
    gateway = colour.gateway(config(server))
    with gateway.scope(unsupported="drop"):
        assert "hi" == colour.chat(gateway, seed=1).text
        with pytest.raises(BadRequest):
            colour.chat(gateway, seed=1, unsupported="error")
