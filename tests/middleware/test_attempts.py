"""Retry and fallback in one loop."""

from __future__ import annotations

import asyncio

import pytest

from llmgate import AllAttemptsFailed, Gateway, Overloaded, RateLimited, Retry
from llmgate.testing import Script, VirtualRuntime, call_for


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
