"""Retry and fallback in one loop."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from llmgate import AllAttemptsFailed, BadRequest, Gateway, Overloaded, RateLimited, Retry
from llmgate.middleware.attempts import Candidate, Group, Route
from llmgate.policies.routing import FEATURES, Balancer, Standing
from llmgate.testing import Script, VirtualRuntime, call_for
from llmgate.types.deployment import Deployment
from llmgate.types.request import Original, Request


def test_waits_as_long_as_the_upstream_asks() -> None:
    """
    A 429 that asks for seven seconds is retried after seven, and at most a tenth more.
    """
    runtime = VirtualRuntime()
    upstream = Script(RateLimited("slow down", retry_after=7.0), "ok")

    async def asked() -> str:
        reply = await Retry(max_attempts=2).wrap(upstream)(call_for(runtime, "hello"))
        return (await reply.response()).text  # type: ignore[attr-defined, no-any-return]

    assert "ok" == runtime.run(asked())
    assert 7.0 <= runtime.slept[0] <= 7.7


def config(**primary: object) -> dict[str, object]:
    return {
        "providers": {"first": {"kind": "simulated", **primary}, "second": {"kind": "simulated", "answer": "second"}},
        "routes": {"both": ["first/m", "second/m"]},
    }


async def test_a_crowd_on_a_dead_primary_all_fall_back() -> None:
    """
    However many callers meet a dead provider at once, each of them is answered by the one that is well.
    """
    gateway = Gateway(config(latency="20ms", failures={"upstream_error": 1}))
    replies = await asyncio.gather(*(gateway.aio.chat("both", f"{n}") for n in range(50)))
    await gateway.aio.close()

    assert {"second/m"} == {reply.deployment for reply in replies}


def test_the_error_tells_of_every_attempt() -> None:
    """
    When several deployments failed, the error holds each of their errors and a record of each attempt.
    """
    both = config(failures={"overloaded": 1})
    both["providers"]["second"] = {"kind": "simulated", "failures": {"rate_limited": 1}}  # type: ignore[index]
    with Gateway(both | {"retry": {"enabled": False}}) as gateway, pytest.raises(AllAttemptsFailed) as raised:
        gateway.chat("both", "hello")

    assert ["first/m", "second/m"] == [attempt.deployment for attempt in raised.value.attempts]
    assert ["overloaded", "rate_limited"] == [error.kind for error in raised.value.exceptions]
    assert "rate_limited" == raised.value.kind


def test_a_call_may_refuse_to_be_answered_by_another() -> None:
    """
    With `fallback=False` nobody but the first deployment is asked.
    """
    one = config(failures={"overloaded": 1}) | {"retry": {"enabled": False}}
    with Gateway(one) as gateway, pytest.raises(Overloaded) as raised:
        gateway.chat("both", "hello", fallback=False)

    assert ["first/m"] == [attempt.deployment for attempt in raised.value.attempts]


def able(**models: list[str] | None) -> dict[str, object]:
    """Deployments of one provider, each with what is said about it."""
    infos = {name: {} if can is None else {"capabilities": can} for name, can in models.items()}
    return {
        "providers": {"up": {"kind": "simulated", "models": infos}},
        "routes": {"all": [f"up/{name}" for name in models]},
    }


@pytest.mark.parametrize(
    ("verb", "params", "asked"),
    [
        ("chat", {}, "up/chats"),
        ("chat", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "up/calls"),
        ("image", {}, "up/paints"),
        ("embed", {}, "up/unknown"),
    ],
)
def test_a_call_goes_to_who_can_take_it(verb: str, params: dict[str, object], asked: str) -> None:
    """
    The first is asked who is known to be able to do what a call is about, or of whom nobody said what he can do.
    """
    config = able(chats=["chat"], calls=["tools"], paints=["image"], unknown=None)
    with Gateway(config) as gateway:
        reply = getattr(gateway, verb)("all", "a cat", **params)

    assert asked == reply.deployment
    assert [asked] == [attempt.deployment for attempt in reply.attempts]


def test_what_is_asked_for_is_looked_at_in_any_case() -> None:
    """
    Also where everybody takes everything in a chat, only those are asked for an image who make images.
    """
    with Gateway(able(chats=["chat", *FEATURES], paints=["image", *FEATURES])) as gateway:
        assert "up/paints" == gateway.image("all", "a cat").deployment
        assert "up/chats" == gateway.chat("all", "hello").deployment


def test_nobody_is_asked_who_cannot() -> None:
    """
    Where nobody can take a call, nobody is asked, and the error says of each what is missing.
    """
    with Gateway(able(chats=["chat"], embeds=["embed"])) as gateway, pytest.raises(BadRequest) as raised:
        gateway.image("all", "a cat")

    assert [] == list(raised.value.attempts)
    assert "up/chats cannot do image" in raised.value.message
    assert "up/embeds cannot do image" in raised.value.message


def test_nobody_is_translated_only_to_be_looked_into() -> None:
    """
    A request in its caller's own format is read when somebody else could take it, and not where there is no choice.
    """
    looked = []

    def read(body: object) -> Request:
        looked.append(body)
        return Request("chat", body={"messages": []})

    standings = [Standing(Deployment(name, "up", name, capabilities=frozenset({"chat"}))) for name in "ab"]
    candidates = [Candidate(standing, Script()) for standing in standings]
    call = call_for(VirtualRuntime(), "hello")
    call.request = Request.said("anthropic_messages", Original({}, read), "chat")

    def chosen(*among: Candidate) -> Candidate | None:
        group = Group(Balancer("ordered", [candidate.standing for candidate in among], Random()), among)
        return Route("route", [group]).choose(call, 0.0, ())

    assert candidates[0] is chosen(candidates[0])
    assert [] == looked
    assert candidates[0] is chosen(*candidates)
    assert [{}] == looked
