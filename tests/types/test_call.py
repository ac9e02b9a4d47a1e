"""One call, its copies, and what they share."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields

import pytest

from llmgate.runtime.virtual import VirtualRuntime
from llmgate.types.call import Attempt, CacheControl, Call, Options, Trail
from llmgate.types.deployment import Deployment, Price, ProviderCapability
from llmgate.types.request import Message, Request

HELLO = Request("chat", "", {"messages": [{"role": "user", "content": "hello"}]}, True, b"{}", "PUT", "/x")
FAST = Deployment("openai/gpt", "openai", "gpt")


def call() -> Call:
    return Call(HELLO, VirtualRuntime(), "fast", Options(tenant="acme"), 1.0, 9.0, "print", way="way", patience_s=5.0)


class TestCall:
    """`Call`, `attempt` and `but`."""

    def test_an_attempt_asks_for_the_deployments_model(self) -> None:
        """
        The copy for one deployment names its model and nobody else's; the caller's request stays as it was.
        """
        own = call()
        attempt = own.attempt(FAST, 2.0)

        assert HELLO.to("gpt") == attempt.request
        assert ("", None) == (own.request.model, own.deployment)
        assert (FAST, 2.0, None, None) == (attempt.deployment, attempt.patience_s, attempt.way, attempt.timers)
        assert math.inf == own.attempt(FAST).patience_s

    def test_an_attempt_keeps_everything_else(self) -> None:
        """
        Runtime, route, options, times and fingerprint are the call's; the trail is shared.
        """
        own = call()
        attempt = own.attempt(FAST)
        for name in ("runtime", "route", "options", "started", "deadline", "fingerprint", "trail"):
            assert getattr(own, name) is getattr(attempt, name), name

        attempt.trail.sent += 1
        assert 1 == own.trail.sent

    def test_the_same_model_needs_no_other_request(self) -> None:
        """
        A request that asks for the model already is passed on as it is.
        """
        own = call().but(request=HELLO.to("gpt"))

        assert own.request is own.attempt(FAST).request

    def test_a_copy_differs_in_what_was_said(self) -> None:
        """
        `but` changes the fields named, leaves the call alone, and shares its trail.
        """
        own = call()
        other = own.but(deadline=4.0)

        assert (9.0, 4.0) == (own.deadline, other.deadline)
        assert own.trail is other.trail
        for field in fields(Call):
            assert field.name == "deadline" or getattr(own, field.name) is getattr(other, field.name)

    def test_two_calls_share_nothing(self) -> None:
        """
        Every call has a trail and options of its own.
        """
        one, two = Call(HELLO, VirtualRuntime()), Call(HELLO, VirtualRuntime())
        one.trail.attempts.append(Attempt("a", "ok", "ok"))
        one.trail.notes["seen"] = True

        assert ([], {}) == (two.trail.attempts, two.trail.notes)
        assert math.inf == two.deadline

    def test_a_new_trail_is_empty(self) -> None:
        """
        Nothing was sent, nobody waited.
        """
        trail = Trail()

        assert ([], {}, 0, 0.0, 0.0) == (trail.attempts, trail.notes, trail.sent, trail.upstream_s, trail.waited_s)


class TestFixed:
    """What is said once."""

    @pytest.mark.parametrize("value", [Options(), CacheControl(), Attempt("a", "ok", "ok"), FAST, Price()])
    def test_cannot_be_changed(self, value: object) -> None:
        """
        Options, attempts, deployments and prices are shared, so they stay as they are.
        """
        with pytest.raises(FrozenInstanceError):
            setattr(value, fields(value)[0].name, "changed")  # type: ignore[arg-type]

    def test_options_that_say_nothing_are_equal(self) -> None:
        """
        No time-out of its own, nobody in particular, no tags, the configured cache, and fallbacks.
        """
        assert Options(None, "", {}, None, True, None) == Options()
        assert Options().tags is not Options().tags


class TestDeployment:
    """`Deployment`."""

    def test_is_itself_alone(self) -> None:
        """
        Two deployments that look alike are two; each keeps its own state in a dict.
        """
        other = Deployment("openai/gpt", "openai", "gpt")

        assert FAST != other
        assert {FAST: 1, other: 2} == {FAST: 1} | {other: 2}
        assert 2 == len({FAST, other})

    def test_does_not_show_its_price_list(self) -> None:
        """
        The function that computes costs is nothing to look at.
        """
        assert "lambda" not in repr(Deployment("a", "a", "a", priced=lambda answer: None))
        assert {"chat", "stream", "tools"} < {*ProviderCapability}


class TestRequest:
    """`Request` and `Message`."""

    def test_to_another_model(self) -> None:
        """
        The copy differs in the model, and shares body and bytes, which nobody changes.
        """
        other = HELLO.to("gpt")

        assert "gpt" == other.model
        assert HELLO.body is other.body
        assert HELLO.encoded is other.encoded
        for field in fields(Request):
            assert field.name == "model" or getattr(HELLO, field.name) == getattr(other, field.name)

    def test_with_other_parameters(self) -> None:
        """
        `but` sets and takes out parameters, sends what it says, and leaves the request it came from alone.
        """
        request = Request("chat", "gpt", {"messages": [], "n": 1, "user": None}, True, b"old")
        other = request.but(temperature=0, n=None)

        assert {"messages": [], "user": None, "temperature": 0} == other.body == json.loads(other.encoded)
        assert ({"messages": [], "n": 1, "user": None}, b"old") == (request.body, request.encoded)
        assert ("chat", "gpt", True, "POST", "") == (other.verb, other.model, other.stream, other.method, other.path)
        with pytest.raises(ValueError):
            request.but(temperature=math.nan)

    def test_a_message_says_what_it_has(self) -> None:
        """
        What is None is left out, but for the content; extra keys are sent as they are.
        """
        assert {"role": "user", "content": None} == Message("user").to_openai()
        assert {"role": "tool", "content": "x", "tool_calls": [], "tool_call_id": "a", "name": "f", "y": 1} == (
            Message("tool", "x", [], "a", "f", {"y": 1}).to_openai()
        )
