"""However a call fails, it makes no more attempts and takes no more seconds than `check` says; nor more dollars."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st

from llmgate.config import settings_from
from llmgate.config.pipeline import build
from llmgate.errors import GatewayError
from llmgate.providers.simulated import FAILURES, Simulated
from llmgate.surfaces.imagining import route_of
from llmgate.surfaces.worst_case import WorstCase, worst_case
from llmgate.telemetry.stats import CallStats
from llmgate.testing import VirtualRuntime
from llmgate.types.call import Call, Handler
from llmgate.types.reply import Reply
from llmgate.types.request import Request
from llmgate.types.wire import dumps

MESSAGES = [{"role": "user", "content": "hello"}]
BODY: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 1024}

seconds = st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0, 100.0])
failures = st.lists(st.sampled_from([*FAILURES, "ok"]), max_size=30)
upstreams = st.fixed_dictionaries({"latency": seconds, "failures": failures, "retry_after": st.none() | seconds})
retries = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "max_attempts": st.integers(1, 10),
        "max_attempts_total": st.integers(1, 10),
        "base_delay": st.just(0),
        "max_delay": st.sampled_from([0.0, 1.0, 20.0]),
        "max_server_delay": st.sampled_from([1.0, 60.0]),
    },
)
timeouts = st.fixed_dictionaries(
    {},
    optional={
        "total": st.sampled_from([1.0, 10.0, 120.0]),
        "attempt": st.sampled_from([0.5, 2.0, 20.0]),
        "first_token": st.sampled_from([0.5, 2.0, 60.0]),
    },
)
limits = st.lists(
    st.fixed_dictionaries(
        {
            "per": st.sampled_from(["gateway", "tenant", "deployment"]),
            "requests": st.sampled_from(["1/s", "6/min"]),
            "max_wait": st.sampled_from([0.0, 2.0, 20.0]),
        },
        optional={"burst": st.just(1), "max_concurrency": st.integers(1, 2)},
    ),
    max_size=2,
)
breakers = st.sampled_from([False, {"threshold": 1, "timeout": 1.0}, {"threshold": 5}])


class Counting(Simulated):
    """A simulated upstream that counts who comes."""

    def bind(self, model: str, key: int = 0) -> Handler:
        handler = super().bind(model, key)

        async def counted(call: Call) -> Reply:
            call.trail.notes["asked"] = call.trail.notes.get("asked", 0) + 1
            return await handler(call)

        return counted


@settings(max_examples=150, deadline=None)
@given(
    many=st.lists(upstreams, min_size=1, max_size=4), fallback=st.integers(0, 3), retry=retries, times=timeouts,
    limit=limits, breaker=breakers, streams=st.lists(st.booleans(), min_size=1, max_size=6), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_no_call_takes_more_than_check_says(
    many: list[dict[str, Any]],
    fallback: int,
    retry: dict[str, Any],
    times: dict[str, Any],
    limit: list[dict[str, Any]],
    breaker: Any,
    streams: list[bool],
    seed: int,
) -> None:
    """
    Calls one after another and at once, each with upstreams that are slow and fail as they like, behind limits, breakers
    and retries of any kind: none passes the bounds of its route.
    """
    names = [f"up{at}/m" for at in range(len(many))]
    split = max(1, len(names) - fallback)
    config = {
        "providers": {f"up{at}": Counting(**upstream) for at, upstream in enumerate(many)},
        "routes": {"fast": {"deployments": names[:split], "fallback": names[split:]}},
        "retry": retry, "timeouts": times, "rate_limit": limit, "circuit_breaker": breaker,
        "prices": {name: {"input": 1 + at, "output": 2} for at, name in enumerate(names)},
    }  # fmt: skip
    pipeline = build(settings_from(config, {}), (), (), CallStats())
    tokens = 50  # above the estimate for what is asked
    worst = worst_case(pipeline, route_of(pipeline, "fast"), tokens)
    runtime = VirtualRuntime(seed)

    async def asked(stream: bool) -> None:
        started = runtime.now()
        request = Request("chat", "", BODY, stream, dumps(BODY))
        call = Call(request, runtime, "fast", started=started, deadline=started + pipeline.timeout_s[stream])
        try:
            reply = await pipeline.open(call)
            await reply.response()
        except GatewayError:
            pass
        hold(worst, call, stream, runtime.now() - started, pipeline.prices.worst_case)

    def hold(worst: WorstCase, call: Call, stream: bool, took_s: float, price_of: Callable[..., Any]) -> None:
        assert call.trail.notes.get("asked", 0) <= worst.attempts
        assert took_s <= (worst.stream_seconds if stream else worst.seconds) + 1e-6
        assert worst.dollars is not None and billed(call, price_of) <= worst.dollars

    def billed(call: Call, price_of: Callable[..., Any]) -> Decimal:
        places = {candidate.deployment.name: candidate.deployment for candidate in call.way.candidates}
        sent = [attempt for attempt in call.trail.attempts if attempt.outcome != "local"]
        from datetime import UTC, datetime

        return sum((price_of(places[a.deployment], tokens, 1024, datetime.now(UTC)) for a in sent), Decimal(0))

    async def main() -> None:
        tasks = []
        for stream in streams:
            tasks.append(runtime.spawn(asked(stream)))
            if Random(seed).random() < 0.5:
                await tasks[-1].wait()
        for task in tasks:
            await task.wait()
            task.result()

    runtime.run(main())
