"""Every clock on real sockets: what it raises, what it is called, and that it rings when it should."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmgate import (
    ConnectionFailed,
    DeadlineExceeded,
    Function,
    Gateway,
    GatewayError,
    LimitReached,
    Simulated,
    StreamInterrupted,
    UpstreamTimeout,
)
from llmgate.testing import (
    Hang,
    Pause,
    Repeat,
    ScriptedServer,
    Trickle,
    chat,
    chunk,
    error,
    head,
    http_stream,
    sse,
    stream,
)
from tests.conftest import Colour

SHORT_S = 0.1  # seconds; a time that is meant to run out
LATE_S = 0.3  # seconds by which a timer may ring late on a busy machine
PINGS = [*http_stream([sse({"choices": []})], end=False)[:1], Repeat([chunk(b": ping\n\n"), Pause(0.02)])]


def config(server: ScriptedServer, **timeouts: Any) -> dict[str, Any]:
    upstream = {"kind": "openai-compatible", "base_url": server.base_url}
    return {"providers": {"up": upstream}, "routes": {"fast": ["up/a"]}, "timeouts": timeouts, "retry": "off"}


class Resolving(asyncio.SelectorEventLoop):
    """An event loop for which every name has the same addresses: of the server, of nobody, of a black hole."""

    def __init__(self, server: ScriptedServer, addresses: str) -> None:
        super().__init__()
        ports = {
            "good": lambda: server.port,
            "refused": lambda: urlsplit(server.refused_url()).port,
            "dead": lambda: urlsplit(server.blackhole_url()).port,
        }
        self._addresses = [("127.0.0.1", ports[each]()) for each in addresses.split()]

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in self._addresses]


class Timed:
    """Runs something that must fail, and holds it to its time."""

    def __init__(self, ask: Callable[[], Any], kind: type[GatewayError], at_s: float = SHORT_S) -> None:
        began = time.monotonic()
        with pytest.raises(kind) as raised:
            ask()
        took = time.monotonic() - began
        assert at_s - 0.01 <= took <= at_s + LATE_S
        self.error: Any = raised.value


class TestClocks:
    @pytest.mark.parametrize("verb", ["chat", "read"])
    def test_connect(self, colour: Colour, server: ScriptedServer, verb: str) -> None:
        """
        A connection that is never made is given up after `connect`.
        """
        setup = config(server, connect=SHORT_S)
        setup["providers"]["up"]["base_url"] = server.blackhole_url()
        gateway = colour.gateway(setup)

        failed = Timed(lambda: getattr(colour, verb)(gateway), UpstreamTimeout).error

        assert ("connect", "up/a", 504) == (failed.timer, failed.deployment, failed.status)
        assert ["transient"] == [attempt.outcome for attempt in failed.attempts]

    @pytest.mark.parametrize(
        ("addresses", "at_s"),
        [("good", 0), ("refused good", 0), ("dead good", 0.25), ("dead refused good", 0.25), ("good good dead", 0)],
    )
    def test_connect_tries_the_next_address(self, server: ScriptedServer, addresses: str, at_s: float) -> None:
        """
        Of a name with several addresses the next one is tried when one fails, or has not answered in a quarter of a second.
        """
        server.answer(chat("hello"))
        setup = config(server)
        setup["providers"]["up"] |= {"base_url": "http://several.test/v1", "allow_http": True}

        with asyncio.Runner(loop_factory=lambda: Resolving(server, addresses)) as runner:
            gateway = Gateway(setup)
            began = time.monotonic()

            assert "hello" == runner.run(gateway.aio.chat("fast", "hello")).text

            assert at_s - 0.01 <= time.monotonic() - began <= at_s + LATE_S
            # Whatever else was connected was closed again.
            assert server._wait(lambda: server.connections_open == 1, 2.0)
            runner.run(gateway.aio.close())
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize(
        ("addresses", "kind"), [("dead dead", UpstreamTimeout), ("refused refused", ConnectionFailed)]
    )
    def test_connect_gives_up_all_addresses(
        self, server: ScriptedServer, addresses: str, kind: type[GatewayError]
    ) -> None:
        """
        When none answers the call fails, and not later than with one.
        """
        setup = config(server, connect=0.4)
        setup["providers"]["up"] |= {"base_url": "http://several.test/v1", "allow_http": True}

        with asyncio.Runner(loop_factory=lambda: Resolving(server, addresses)) as runner:
            gateway = Gateway(setup)
            with pytest.raises(kind):
                runner.run(asyncio.wait_for(gateway.aio.chat("fast", "hello"), 0.4 + LATE_S))
            runner.run(gateway.aio.close())

    @pytest.mark.parametrize("script", [[Hang()], [head(200, {"content-type": "text/event-stream"}), Hang()], PINGS])
    def test_first_token(self, colour: Colour, server: ScriptedServer, script: Any) -> None:
        """
        A stream that brings nothing, or headers only, or pings only, is given up after `first_token`.
        """
        server.answer(script)

        failed = Timed(lambda: colour.read(colour.gateway(config(server, first_token=SHORT_S))), UpstreamTimeout).error

        assert ("first_token", "up/a", "upstream_timeout") == (failed.timer, failed.deployment, failed.kind)
        assert server.wait_closed(2.0)

    def test_idle(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A stream that falls silent after its beginning is given up after `idle`; what came is in the error.
        """
        server.answer(stream(["a", "b"], cut_after=1, ending=Hang()))

        failed = Timed(lambda: colour.read(colour.gateway(config(server, idle=SHORT_S))), StreamInterrupted).error

        assert "a" == failed.partial.text
        assert "not a byte for 0.1 s" in str(failed)
        assert "idle" == failed.timer
        assert server.wait_closed(2.0)

    def test_stall(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A stream that goes on with nothing but pings is given up after `stall`.
        """
        beginning = stream(["a", "b"], cut_after=1, ending=Repeat([chunk(b": ping\n\n"), Pause(0.02)]))
        server.answer(beginning)

        failed = Timed(lambda: colour.read(colour.gateway(config(server, stall=SHORT_S))), StreamInterrupted).error

        assert "a" == failed.partial.text
        assert "stall" == failed.timer
        assert "no content for 0.1 s" in str(failed)
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("verb", ["chat", "read"])
    def test_attempt(self, colour: Colour, server: ScriptedServer, verb: str) -> None:
        """
        An attempt is over after `attempt`, whatever it is doing.
        """
        server.answer([Hang()] if verb == "chat" else PINGS)

        failed = Timed(
            lambda: getattr(colour, verb)(colour.gateway(config(server, attempt=SHORT_S))), UpstreamTimeout
        ).error

        assert "attempt" == failed.timer
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize(
        "script", [[Hang()], [head(200, {"content-type": "application/json", "content-length": "9"}), Hang()]]
    )
    def test_attempt_while_a_body_is_awaited(self, colour: Colour, server: ScriptedServer, script: Any) -> None:
        """
        The same while headers or the body of a whole answer do not come, and when it comes byte by byte.
        """
        server.answer(script)
        gateway = colour.gateway(config(server, attempt=SHORT_S))
        Timed(lambda: colour.chat(gateway), UpstreamTimeout)
        server.answer([Trickle(b"".join(chat("hello")), every_s=0.01)])  # type: ignore[arg-type]

        failed = Timed(lambda: colour.chat(gateway), UpstreamTimeout).error

        assert "attempt" == failed.timer
        assert server.wait_closed(2.0)

    def test_each_attempt_has_its_own(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The next attempt begins with a new clock.
        """
        server.answer([Hang()], [Pause(0.05), *chat("hello")])
        setup = config(server, attempt=SHORT_S) | {"retry": {"base_delay": 0, "max_delay": 0}}

        reply = colour.chat(colour.gateway(setup))

        assert "hello" == reply.text
        assert ["upstream_timeout", "ok"] == [attempt.kind for attempt in reply.attempts]

    def test_a_slow_stream_that_goes_on_is_left_alone(self, colour: Colour, server: ScriptedServer) -> None:
        """
        No clock between two pieces rings while pieces come, however long it all takes.
        """
        server.answer(stream(list("abcdefgh"), gap_s=0.04))
        clocks = {"first_token": 0.15, "idle": 0.15, "stall": 0.15}

        assert "abcdefgh" == colour.read(colour.gateway(config(server, **clocks)))[0].response.text


class TestDeadline:
    @pytest.mark.parametrize("verb", ["chat", "read"])
    @pytest.mark.parametrize("how", ["configured", "asked", "scope"])
    def test_total(self, colour: Colour, server: ScriptedServer, verb: str, how: str) -> None:
        """
        A call is over after `total`, or after the time that the caller or the scope gave it.
        """
        server.answer([Hang()] if verb == "chat" else PINGS)
        gateway = colour.gateway(config(server, **({"total": SHORT_S} if how == "configured" else {})))
        params = {"timeout": SHORT_S} if how == "asked" else {}

        def ask() -> None:
            if how == "scope":
                with gateway.scope(timeout=SHORT_S):
                    getattr(colour, verb)(gateway)
            else:
                getattr(colour, verb)(gateway, **params)

        failed = Timed(ask, DeadlineExceeded).error

        assert (504, "deadline_exceeded") == (failed.status, failed.kind)
        assert 1 == len(failed.attempts)
        assert server.wait_closed(2.0)

    def test_in_the_midst_of_a_stream(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The deadline also ends a stream whose reader has got a part already.
        """
        server.answer(stream(["a", "b"], cut_after=1, ending=Repeat([chunk(b": ping\n\n"), Pause(0.02)])))

        Timed(lambda: colour.read(colour.gateway(config(server)), timeout=SHORT_S), DeadlineExceeded)

        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("timeout", [0, -1, -0.0, "0s"])
    @pytest.mark.parametrize("verb", ["chat", "read"])
    def test_no_time_at_all(self, colour: Colour, server: ScriptedServer, verb: str, timeout: Any) -> None:
        """
        Without any time the call fails at once: nothing is taken, nobody is asked, nothing is looked up.
        """
        server.always(chat("hello"))
        setup = config(server) | {
            "rate_limit": {"requests_per_minute": 2, "on_limit": "reject"},
            "cache": {"enabled": True},
        }
        gateway = colour.gateway(setup)
        colour.chat(gateway, temperature=0)

        failed = Timed(
            lambda: getattr(colour, verb)(gateway, timeout=timeout, temperature=0), DeadlineExceeded, 0.0
        ).error

        assert () == failed.attempts
        Timed(lambda: getattr(colour, verb)(colour.gateway(config(server)), timeout=timeout), DeadlineExceeded, 0.0)
        assert 1 == len(server.requests)
        colour.chat(gateway, messages="the second request of the minute")
        with pytest.raises(LimitReached):
            colour.chat(gateway, messages="the third")

    def test_it_spans_all_attempts(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Attempts, waits and fallbacks share one deadline; no attempt begins for which no time is left.
        """
        server.always([Pause(0.1), *error(503)])
        setup = config(server) | {
            "routes": {"fast": ["up/a", "up/b", "up/c", "up/d"]},
            "retry": {"base_delay": 0.05, "max_delay": 0.05, "max_attempts_total": 10},
        }

        began = time.monotonic()
        with pytest.raises(GatewayError) as raised:
            colour.chat(colour.gateway(setup), timeout=0.8)
        took = time.monotonic() - began

        assert took < 0.8 + LATE_S
        assert 2 <= len(raised.value.attempts) < 10
        assert "overloaded" == raised.value.kind

    def test_a_retry_that_would_come_too_late_is_not_waited_for(self, colour: Colour, server: ScriptedServer) -> None:
        """
        If the wait before the next attempt is longer than the time left, the call fails at once and says when to come back.
        """
        server.always(error(429, headers={"retry-after": "20"}))
        setup = config(server) | {"retry": {}}

        failed = Timed(lambda: colour.chat(colour.gateway(setup), timeout=5), GatewayError, 0.0).error

        assert ("rate_limited", 20.0, 1) == (failed.kind, failed.retry_after, len(failed.attempts))

    def test_in_a_queue(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A call that would have to wait for a limit longer than it has time is refused at once.
        """
        server.always(chat("hello"))
        setup = config(server) | {"rate_limit": {"requests": "1/h"}}
        gateway = colour.gateway(setup)
        colour.chat(gateway)

        failed = Timed(lambda: colour.chat(gateway, messages="more", timeout=5), LimitReached, 0.0).error

        assert 3500 < failed.retry_after <= 3600
        assert 1 == len(server.requests)

    def test_in_a_queue_for_a_slot(self, server: ScriptedServer) -> None:
        """
        A call whose time is over while it waits for a slot is told so, at its time.
        """
        server.always([Hang()])
        setup = config(server) | {"rate_limit": {"max_concurrency": 1}}

        async def main() -> None:
            async with Gateway(setup).aio as aio:
                holder = asyncio.create_task(aio.chat("fast", "hello"))
                await asyncio.to_thread(server.wait_requests, 1)
                began = time.monotonic()
                with pytest.raises(DeadlineExceeded):
                    await aio.chat("fast", "hello", timeout=SHORT_S)
                assert SHORT_S - 0.01 <= time.monotonic() - began <= SHORT_S + LATE_S
                holder.cancel()

        asyncio.run(main())

    @pytest.mark.parametrize("timeout", [float("inf"), 1e300, "9999999d"])
    def test_as_much_time_as_one_likes(self, colour: Colour, server: ScriptedServer, timeout: Any) -> None:
        """
        An endless or very long time is no error.
        """
        server.answer(chat("hello"), stream(["a"]))
        gateway = colour.gateway(config(server))

        assert "hello" == colour.chat(gateway, timeout=timeout).text
        assert "a" == colour.read(gateway, timeout=timeout)[0].response.text

    def test_a_dead_upstream_leaves_time_for_the_others(self, server: ScriptedServer) -> None:
        """
        While another deployment stands ready, a silent one is not given all the time there is.
        """
        server.on(lambda request: [Hang()] if request.json()["model"] == "a" else chat("saved"))
        setup = config(server) | {"routes": {"fast": ["up/a", "up/b"]}, "retry": {}}

        with Gateway(setup) as gateway:
            reply = gateway.chat("fast", "hello", timeout=2.1)

        assert ("saved", "up/b") == (reply.text, reply.deployment)
        assert ["upstream_timeout", "ok"] == [attempt.kind for attempt in reply.attempts]


class TestWithoutANetwork:
    def test_a_simulated_upstream_keeps_to_the_clocks(self, colour: Colour) -> None:
        """
        The simulation is too late where a real upstream would be.
        """
        setup = {"timeouts": {"first_token": SHORT_S}, "retry": "off"}
        gateway = colour.gateway(setup, providers=[Simulated(latency=9)])

        failed = Timed(lambda: colour.read(gateway, "simulated/x"), UpstreamTimeout).error
        assert "first_token" == failed.timer
        Timed(lambda: colour.chat(gateway, "simulated/x", timeout=SHORT_S), DeadlineExceeded)

    def test_a_coroutine_function_is_cut_short(self, colour: Colour) -> None:
        """
        A coroutine function that hangs is cancelled at the deadline, in both colours.
        """
        ended: list[str] = []

        async def hanging(messages: Any, **params: Any) -> str:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return "never"

        gateway = colour.gateway({"retry": "off"}, providers=[Function(hanging, name="mine")])

        Timed(lambda: colour.chat(gateway, "mine", timeout=SHORT_S), DeadlineExceeded)

        assert ["cancelled"] == ended

    def test_a_plain_function_is_left_behind(self) -> None:
        """
        On an event loop a plain function that does not return in time is not waited for.
        """

        def slow(messages: Any, **params: Any) -> str:
            time.sleep(0.6)
            return "too late"

        async def main() -> None:
            gateway = Gateway({"retry": "off"}, providers=[Function(slow, name="mine")])
            async with gateway.aio as aio:
                began = time.monotonic()
                with pytest.raises(DeadlineExceeded):
                    await aio.chat("mine", "hello", timeout=SHORT_S)
                assert SHORT_S - 0.01 <= time.monotonic() - began <= SHORT_S + LATE_S

        asyncio.run(main())

    def test_a_plain_function_that_was_late_is_told_as_late(self) -> None:
        """
        Plain code cannot leave a plain function behind; but an answer that came too late is none.
        """

        def slow(messages: Any, **params: Any) -> str:
            time.sleep(0.3)
            return "too late"

        with Gateway({"retry": "off"}, providers=[Function(slow, name="mine")]) as gateway:
            Timed(lambda: gateway.chat("mine", "hello", timeout=SHORT_S), DeadlineExceeded, 0.3)
