"""`explain` tells the steps of a call and the reasons of its choice, and asks nobody."""

from __future__ import annotations

from typing import Any

import pytest

from llmgate import BadRequest, Gateway, GatewayError, ModelNotFound, Simulated


def gateway(**sections: Any) -> Gateway:
    able = {"kind": "simulated", "models": {"a": {"capabilities": ["tools"]}, "small": {"context_window": 100}}}
    plain = {"kind": "simulated", "models": {"b": {"capabilities": ["chat"]}}}
    config = {"providers": {"able": able, "plain": plain}, "routes": {"fast": ["able/a", "plain/b"]}}
    return Gateway(config | sections)


def test_the_steps_of_a_plain_call() -> None:
    """
    Every step that the call takes, in order.
    """
    assert [
        "1. deadline: the call is over after 2m, whatever happens",
        "2. cache: off",
        "3. deployments: ordered among able/a, plain/b",
        "4. attempts: up to 3 of one deployment, fewer while another one stands ready; 6 in all; waits between them: "
        "<Backoff exponential 0.5s to 8s, full jitter>",
        "5. each attempt: a circuit breaker opens after 5 failures in a row and rests 15s; clocks: connect 5s; "
        "an answer of up to 1024 tokens is expected",
    ] == gateway().explain("fast", "hello")


@pytest.mark.parametrize(
    ("verb", "params", "cache", "attempts", "expected"),
    [
        ("image", {}, "made anew", "6 in all", "1024 tokens"),
        ("image", {"cache": True}, "looked up", "6 in all", "1024 tokens"),
        ("video", {}, "made anew", "where it may have begun nobody is asked again", None),
        ("video", {"idempotency_key": "k"}, "made anew", "where it may have begun nobody else is asked", None),
        ("rerank", {}, "looked up", "6 in all", None),
        ("moderate", {"temperature": 1}, "meant to vary", "6 in all", None),
        ("transcribe", {}, "looked up", "6 in all", "1024 tokens"),
        ("embed", {}, "looked up", "6 in all", None),
    ],
)
def test_the_steps_of_other_calls(verb: Any, params: dict[str, Any], cache: str, attempts: str, expected: Any) -> None:
    """
    What is made is made anew, what may have begun is not begun again, and where no tokens are written none are expected.
    """
    steps = gateway(cache={}).explain("plain/x", "a fox", verb=verb, **params)

    assert cache in steps[1]
    assert attempts in steps[-2]
    assert (expected is not None) == ("is expected" in steps[-1])
    assert expected is None or expected in steps[-1]


def test_everything_that_stands_around_a_call() -> None:
    """
    Limits, slots and the cache stand in the order in which the call meets them.
    """

    async def outer(call: Any, call_next: Any) -> Any:
        return await call_next(call)

    async def inner(call: Any, call_next: Any) -> Any:
        return await call_next(call)

    config = {
        "providers": {"able": {"kind": "simulated"}},
        "rate_limit": [{"requests_per_minute": 60}, {"per": "deployment", "max_concurrency": 2, "on_limit": "reject"}],
        "cache": {"ttl": "5m"},
        "circuit_breaker": False,
        "timeouts": {"attempt": "7s"},
    }
    slots: list[Any] = [
        ("before_cache", inner),
        ("outermost", outer),
        ("each_attempt", inner),
        ("before_attempts", outer),
    ]
    steps = Gateway(config, middleware=slots).explain("able/x", "hello", timeout="3s")

    assert [
        "deadline: the call is over after 3s, whatever happens",
        "outermost: outer",
        "rate limit: 60 requests in 1m for all calls together; who comes too early waits up to 30s",
        "before_cache: inner",
        "cache: looked up in memory; an answer is kept for 5m; identical calls at one time share one",
        "before_attempts: outer",
        "deployments: ordered among able/x",
        "attempts: up to 3 of one deployment; 6 in all; waits between them: <Backoff exponential 0.5s to 8s, full jitter>",
        "each_attempt: inner",
        "limit of each deployment: 2 at a time; who comes too early is refused",
        "each attempt: no circuit breaker; clocks: connect 5s, in all 7s; an answer of up to 1024 tokens is expected",
    ] == [step.partition(" ")[2] for step in steps]


def test_the_stated_order_is_the_order_of_the_call() -> None:
    """
    What explain says about the slots is what a call does: each middleware notes when it is reached.
    """
    seen: list[str] = []

    def noting(name: str) -> Any:
        async def noted(call: Any, call_next: Any) -> Any:
            seen.append(name)
            return await call_next(call)

        noted.__name__ = name
        return noted

    slots: list[Any] = [
        (slot, noting(slot)) for slot in ("each_attempt", "before_attempts", "before_cache", "outermost")
    ]
    with Gateway({"providers": {"pretend": {"kind": "simulated"}}, "cache": {}}, middleware=slots) as asked:
        steps = asked.explain("pretend/a", "hello")
        asked.chat("pretend/a", "hello")

    told = [step.partition(": ")[2] for step in steps if step.partition(": ")[2] in seen]
    assert ["outermost", "before_cache", "before_attempts", "each_attempt"] == seen == told


def test_why_a_deployment_is_left_out() -> None:
    """
    A deployment that lacks what the request needs, or is too small for it, is left out, and the reason is told.
    """
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    told = gateway().explain("fast", "hello", tools=tools)
    assert "3. deployments: ordered among able/a" in told
    assert "4. left out: plain/b cannot do tools" in told

    routes = {"fast": ["able/small", "able/large"]}
    small = gateway(routes=routes).explain("fast", "word " * 1000)
    assert any(step.partition(" ")[2].startswith("left out: able/small has room for 100 tokens") for step in small)


def test_the_state_of_the_moment() -> None:
    """
    A gateway tells its state as it is: whose circuit is open, and who rests.
    """
    failing = Simulated(name="failing", failures={"upstream_error": 1.0})
    config = {"routes": {"fast": ["failing/a", "spare/b"]}, "circuit_breaker": {"threshold": 1, "timeout": "1h"}}
    with Gateway(config | {"retry": {"enabled": False}}, providers=[failing, Simulated(name="spare")]) as asked:
        asked.chat("fast", "hello")
        told = asked.explain("fast", "hello")

    assert "3. deployments: ordered among spare/b" in told
    assert any("left out: failing/a" in step and "circuit" in step for step in told)


def test_what_the_caller_says() -> None:
    """
    Options of the call, and of the scope around it, are in the steps; a stream has a stream's clocks.
    """
    asked = gateway(cache={"ttl": "1h"})
    said = "\n".join(asked.explain("fast", "hello", cache="no-store", fallback=False, max_tokens=7))
    assert "looked up in memory; no answer is kept, the caller said so" in said
    assert "up to 3 of one deployment, and no other deployment, the caller said so" in said
    assert "an answer of up to 7 tokens is expected" in said
    with asked.scope(timeout="9s", cache=False):
        told = asked.explain("fast", "hello", stream=True)
    assert "1. deadline: the call is over after 9s, whatever happens" == told[0]
    assert "2. cache: not for this call, the caller said so" == told[1]
    assert "first token 1m, idle 30s, stall 1m" in told[-1]
    assert "meant to vary" in "\n".join(asked.explain("fast", "hello", temperature=1))
    assert "not read, the caller said so" in "\n".join(asked.explain("fast", "hello", cache="no-cache"))
    assert "kept for 2s" in "\n".join(asked.explain("fast", "hello", cache={"ttl": 2}))


def test_fallbacks_and_strategies() -> None:
    """
    Each group of a route is told with how it chooses.
    """
    routes = {"smart": {"strategy": "weighted", "deployments": ["able/a", "able/b"], "fallback": ["plain/b"]}}
    told = gateway(routes=routes).explain("smart")

    assert "3. deployments: weighted among able/a, able/b" in told
    assert "4. fallback, when none of them could answer: ordered among plain/b" in told


def test_nobody_is_asked() -> None:
    """
    Explaining counts as no call, takes nothing of a limit, and asks no upstream.
    """
    asked = gateway(rate_limit=[{"requests": "1/h", "on_limit": "reject"}])
    for _ in range(5):
        asked.explain("fast", "hello")

    assert 0 == asked.stats().calls
    assert "You said: hello" == asked.chat("fast", "hello").text


@pytest.mark.parametrize(
    ("name", "params", "error"),
    [
        ("nope", {}, ModelNotFound),
        ("fast", {"timeout": "soon"}, BadRequest),
        ("fast", {"top_p": float("nan")}, BadRequest),
    ],
)
def test_what_would_be_refused(name: str, params: dict[str, Any], error: type[GatewayError]) -> None:
    """
    What the call would raise before anybody is asked, explain raises, too.
    """
    with pytest.raises(error):
        gateway().explain(name, "hello", **params)


def test_a_route_that_takes_the_model_from_the_caller() -> None:
    """
    Such a route is explained for a model without a name.
    """
    assert "3. deployments: ordered among able/MODEL" in gateway(routes={"any": ["able"]}).explain("any", "hello")
    assert "3. deployments: ordered among able/x" in gateway(routes={"any": ["able"]}).explain("any/x", "hello")
