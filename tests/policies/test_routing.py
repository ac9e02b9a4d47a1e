"""Who can be asked, and who of them is asked."""

from __future__ import annotations

import math
import threading
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any, get_args

import pytest

from llmgate.errors import BadRequest, GatewayError, Overloaded, RateLimited, UpstreamError
from llmgate.policies.routing import (
    DECAY_S,
    FAILURE_S,
    SLOWEST_S,
    STRATEGIES,
    TYPICAL_TOKENS,
    Balancer,
    Standing,
    eligible,
    lacking,
    needs,
)
from llmgate.types.deployment import Deployment, ProviderCapability
from llmgate.types.reply import Outcome
from llmgate.types.request import Request, Verb


def standing(name: str = "a", **fields: Any) -> Standing:
    gate = fields.pop("gate", None)
    return Standing(Deployment(name, "p", name, **fields), gate)


def trio(**fields: Any) -> list[Standing]:
    return [standing(name, **fields) for name in "abc"]


def answer(who: Standing, now: float, seconds: float, *, tokens: int | None = None, first: float | None = None) -> None:
    who.started(now - seconds if math.isfinite(seconds) else now)
    who.ended(now, Outcome("ok", first_token_s=first), seconds, tokens)


def fail(who: Standing, now: float, seconds: float = 0.05, error: GatewayError | None = None) -> None:
    who.started(now - seconds)
    who.ended(now, Outcome.of(error or UpstreamError("broken")), seconds, None)


def names(standings: list[Standing]) -> str:
    return "".join(who.deployment.name for who in standings)


class TestStanding:
    """What is learned about one deployment."""

    def test_counts_attempts_in_flight(self) -> None:
        """
        What has started and not ended is in flight, however it ends.
        """
        who = standing()
        for _ in range(3):
            who.started(0.0)
        who.ended(1.0, Outcome("ok"), 1.0, 10)
        who.ended(1.0, Outcome("cancelled"), 1.0, None)

        assert 1 == who.in_flight

    def test_believes_a_slow_answer_at_once(self) -> None:
        """
        An answer slower than the mean becomes the mean.
        """
        who = standing()
        for second in range(20):
            answer(who, second, 0.5)
        answer(who, 20.0, 3.0)

        assert 3.0 == who.first_token_s

    def test_forgets_a_slow_answer_slowly(self) -> None:
        """
        After the time of decay a fast answer has pulled the mean down to 37 % of the difference.
        """
        who = standing()
        answer(who, 0.0, 3.0)
        answer(who, DECAY_S, 1.0)

        assert 1.0 + 2.0 / math.e == pytest.approx(who.first_token_s)

    def test_fast_failures_look_slow(self) -> None:
        """
        A failure after 50 ms counts as twice the mean, so that failing fast draws no traffic.
        """
        who = standing()
        answer(who, 0.0, 2.0)
        fail(who, 1.0, 0.05)

        assert 4.0 == who.first_token_s

    def test_slow_failures_count_as_they_are(self) -> None:
        """
        A failure slower than twice the mean counts as what it took.
        """
        who = standing()
        answer(who, 0.0, 2.0)
        fail(who, 1.0, 30.0)

        assert 30.0 == who.first_token_s

    def test_one_that_only_fails_is_not_fast(self) -> None:
        """
        Without any success a failure counts as a second.
        """
        who = standing()
        fail(who, 0.0, 0.01)

        assert FAILURE_S == who.first_token_s

    def test_recovers_from_any_number_of_failures(self) -> None:
        """
        Penalties double only up to the longest wait there is, so a healed deployment is back in minutes.
        """
        who = standing()
        for _ in range(5000):
            fail(who, 0.0)

        assert SLOWEST_S == who.first_token_s

    @pytest.mark.parametrize("name", ["cancelled", "closed", "local"])
    def test_learns_nothing_from_what_was_not_its_doing(self, name: str) -> None:
        """
        What the caller or the gateway ended says nothing about the deployment.
        """
        who = standing()
        answer(who, 0.0, 2.0)
        before = who.snapshot(1.0)
        who.started(0.0)
        who.ended(1.0, Outcome(name), 900.0, 5)

        assert before == who.snapshot(1.0)

    def test_learns_no_speed_from_a_refused_request(self) -> None:
        """
        A bad request is answered fast; it is a call and neither an error nor a latency.
        """
        who = standing()
        answer(who, 0.0, 2.0)
        fail(who, 1.0, 0.01, BadRequest("no"))
        now = who.snapshot(1.0)

        assert (2, 0, 2.0, 1.0) == (now.calls, now.errors, now.first_token_s, now.success_rate)

    @pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-12])
    def test_no_impossible_time_poisons_the_mean(self, seconds: float) -> None:
        """
        Whatever a clock may say, the mean stays a number above zero, and later answers change it.
        """
        who = standing()
        answer(who, 0.0, seconds)
        answer(who, 1.0, 2.0, first=seconds)
        fail(who, 2.0, seconds)
        for second in range(600):
            answer(who, 3.0 + second, 1.5)

        assert 1.5 == pytest.approx(who.first_token_s, rel=0.01)

    def test_time_that_runs_backwards_changes_no_past(self) -> None:
        """
        An answer that is told late, with an earlier `now`, does not raise what is known.
        """
        who = standing()
        answer(who, 100.0, 2.0)
        answer(who, 0.0, 1.0)

        assert 2.0 == who.first_token_s == who.seconds(100.0, typical=False)

    def test_compares_whole_answers_by_a_typical_length(self) -> None:
        """
        An answer in one piece with ten times the typical tokens is not ten times as slow.
        """
        who = standing()
        answer(who, 0.0, 20.0, tokens=10 * TYPICAL_TOKENS)

        assert 2.0 == who.first_token_s

    def test_does_not_stretch_short_answers(self) -> None:
        """
        A single word that took a second would not have taken minutes as an essay.
        """
        who = standing()
        answer(who, 0.0, 1.0, tokens=1)

        assert 1.0 == who.first_token_s

    def test_tells_the_first_content_from_the_speed_after_it(self) -> None:
        """
        A stream has both: seconds to its first content, and seconds a token.
        """
        who = standing()
        answer(who, 0.0, 10.5, first=0.5, tokens=1000)

        assert (0.5, 0.01) == (who.first_token_s, who.token_s)
        who.started(0.0)
        assert 0.5 + 0.01 * TYPICAL_TOKENS == who.seconds(0.0, typical=True)

    def test_fades_while_nobody_asks(self) -> None:
        """
        A mean fades with time, and stands as it was while somebody is asking.
        """
        who = standing()
        answer(who, 0.0, 2.0)

        assert 2.0 / math.e == pytest.approx(who.seconds(DECAY_S, typical=False))
        who.started(DECAY_S)
        assert 2.0 == who.seconds(DECAY_S, typical=False)

    def test_success_follows_the_last_calls(self) -> None:
        """
        Failures lower the rate of success, successes and time raise it again.
        """
        who = standing()
        for _ in range(10):
            fail(who, 0.0)
        low, later = who.success(0.0), who.success(DECAY_S)
        for _ in range(50):
            answer(who, 0.0, 1.0)

        assert 0.9**10 == pytest.approx(low)
        assert low < later < who.success(0.0) <= 1.0

    def test_three_failed_checks_take_it_out_and_two_good_ones_bring_it_back(self) -> None:
        """
        A deployment that flaps faster than that keeps the state it has.
        """
        who = standing()
        history = ""
        for ok in "xx.xx.xxx.x.x..":
            who.probed(0.0, ok == ".")
            history += "." if who.healthy else "x"

        assert "........xxxxxx." == history
        assert (0.0, None) == (who.wait(0.0), who.reason(0.0))
        down(who)
        assert (math.inf, "failed its health checks") == (who.wait(0.0), who.reason(0.0))

    def test_cools_as_long_as_the_longest_wish(self) -> None:
        """
        A shorter rest does not end a longer one.
        """
        who = standing()
        who.cool(30.0)
        who.cool(10.0)

        assert not who.available(29.9)
        assert (20.0, "rests for 20.0s") == (who.wait(10.0), who.reason(10.0))
        assert who.available(30.0)
        assert (0.0, None) == (who.wait(30.0), who.reason(30.0))

    def test_the_last_word_about_a_key_counts(self) -> None:
        """
        A refused key is left alone until the time given last, which may be none.
        """
        who = standing()
        who.disable(50.0)

        assert (40.0, "is left alone for 40.0s, because its key was refused") == (who.wait(10.0), who.reason(10.0))
        who.disable(20.0)
        assert who.available(20.0)
        who.disable()
        assert math.inf == who.wait(1e9)

    def test_shows_what_it_knows(self) -> None:
        """
        A snapshot holds counts, means and percentiles, and does not change afterwards.
        """
        who = standing()
        for second in range(1, 101):
            answer(who, second, second / 10, first=0.1, tokens=10)
        fail(who, 101.0)
        who.cool(111.0)
        who.started(101.0)
        seen = who.snapshot(101.0)
        fail(who, 102.0)

        assert ("a", False, True, 1, 101, 1) == (
            seen.deployment,
            seen.available,
            seen.healthy,
            seen.in_flight,
            seen.calls,
            seen.errors,
        )
        assert (10.0, 0.0, "rests for 10.0s") == (seen.cooling_s, seen.disabled_s, seen.reason)
        assert [5.0, 9.5, 9.9] == pytest.approx([seen.latency_s[name] for name in ("p50", "p95", "p99")], rel=0.03)
        assert 0.1 == pytest.approx(seen.first_tokens_s["p99"], rel=0.03)
        assert "<Standing a healthy, 1 in flight, 2/102 failed>" == repr(who)

    @pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
    def test_wants_a_weight_that_is_one(self, weight: float) -> None:
        """
        A weight that cannot be compared is refused when it is given.
        """
        with pytest.raises(ValueError, match="a: a weight is a number from 0 up"):
            standing(weight=weight)

    def test_loses_no_count_among_threads(self) -> None:
        """
        Threads that start and end attempts at once leave exact counts.
        """
        who = standing()

        def work() -> None:
            for number in range(2_000):
                who.started(0.0)
                who.ended(1.0, Outcome("ok") if number % 4 else Outcome.of(UpstreamError("x")), 1.0, 10)

        together(work)

        assert (0, 8_000, 2_000) == (who.in_flight, who.calls, who.errors)


def together(work: Any, count: int = 4) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


TEXT = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]}


def parts(*kinds: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": kind} for kind in kinds]}]}


class TestNeeds:
    """What a request asks of a model."""

    @pytest.mark.parametrize(
        ("body", "more"),
        [
            (TEXT, ""),
            (TEXT | {"tools": [{}]}, "tools"),
            (TEXT | {"functions": [{}]}, "tools"),
            (TEXT | {"tools": []}, ""),
            (TEXT | {"response_format": {"type": "json_schema"}}, "json_schema"),
            (TEXT | {"response_format": {"type": "json_object"}}, ""),
            (TEXT | {"response_format": "json_schema"}, ""),
            (TEXT | {"reasoning_effort": "high"}, "reasoning"),
            (TEXT | {"reasoning_effort": "none"}, ""),
            (TEXT | {"reasoning_effort": None}, ""),
            (TEXT | {"modalities": ["text", "audio"]}, "audio"),
            (parts("text"), ""),
            (parts("text", "image_url"), "vision"),
            (parts("image"), "vision"),
            (parts("file"), "vision"),
            (parts("input_audio", "image_url"), "audio vision"),
            ({"messages": [{"role": "assistant", "tool_calls": []}, None, "x", {"content": None}]}, ""),
            ({"messages": [{"content": ["text", None, {"type": ["image"]}, {}]}]}, ""),
            ({"messages": "hello"}, ""),
            ({}, ""),
            (None, ""),
        ],
    )
    def test_are_read_out_of_the_body(self, body: Any, more: str) -> None:
        """
        Each feature is found where OpenAI's shape has it, and nothing else is mistaken for one.
        """
        assert frozenset(more.split()) | {"chat"} == needs(Request("chat", body=body))

    def test_streaming_is_one(self) -> None:
        """
        A caller who wants pieces needs somebody who can send them.
        """
        assert {"chat", "stream"} == needs(Request("chat", body=TEXT, stream=True))
        assert {"complete", "stream"} == needs(Request("complete", body={}, stream=True))

    @pytest.mark.parametrize(
        ("verb", "expected"),
        [
            ("complete", {"complete"}),
            ("embed", {"embed"}),
            ("models", {"models"}),
            ("image", {"image"}),
            ("video", {"video"}),
            ("video_status", set()),
            ("video_content", set()),
            ("transcribe", {"transcription"}),
            ("speak", {"speech"}),
            ("rerank", {"rerank"}),
            ("moderate", {"moderation"}),
            ("count_tokens", {"count_tokens"}),
            ("request", set()),
            ("call", set()),
        ],
    )
    def test_other_verbs_need_themselves(self, verb: Verb, expected: set[str]) -> None:
        """
        Whoever embeds must be able to embed; what is passed through, and what was begun elsewhere, needs nothing.
        """
        assert expected == needs(Request(verb, body={"tools": [1]}))

    def test_every_verb_is_known(self) -> None:
        """
        Of every verb it is known what it needs.
        """
        for verb in get_args(Verb):
            assert needs(Request(verb)) <= {*ProviderCapability}


class TestLacking:
    """Whether a deployment can do it."""

    def test_only_those_are_asked_for_an_image_who_make_images_or_of_whom_nobody_knows(self) -> None:
        """
        A deployment that is known to chat and not to make images is left out; one of which nothing is known is not.
        """
        wanted = needs(Request("image", body={"prompt": "a cat"}))
        chats, paints, unknown = (
            Deployment(name, "p", name, capabilities=can)
            for name, can in (("a", frozenset({"chat"})), ("b", frozenset({"image"})), ("c", None))
        )

        assert "cannot do image" == lacking(chats, wanted)
        assert lacking(paints, wanted) is lacking(unknown, wanted) is None

    def test_tries_everything_where_nobody_said_anything(self) -> None:
        """
        Unknown capabilities and an unknown window keep nobody out.
        """
        assert lacking(Deployment("a", "p", "a"), frozenset({"chat", "vision"}), 10**9) is None

    def test_says_what_is_missing(self) -> None:
        """
        The reason names every capability that is missing, and nothing that is there.
        """
        blind = Deployment("a", "p", "a", capabilities=frozenset({"chat", "tools"}))

        assert lacking(blind, frozenset({"chat", "tools"})) is None
        assert "cannot do audio, vision" == lacking(blind, frozenset({"chat", "vision", "audio"}))

    def test_believes_an_estimate_only_when_it_is_far_above_the_window(self) -> None:
        """
        Estimates are generous, so a prompt somewhat too long is still sent; one far too long is not.
        """
        small = Deployment("a", "p", "a", context_window=1000)

        assert lacking(small, frozenset(), 1400) is None
        assert "has room for 1000 tokens; some 1401 are wanted" == lacking(small, frozenset(), 1401)


class TestEligible:
    """Who can be asked, and why the others cannot."""

    def test_is_everybody_in_order(self) -> None:
        """
        With nothing wrong, all are candidates in the order of the route.
        """
        assert ("abc", [], None) == show(eligible(0.0, trio()))

    def test_says_why_each_of_the_others_is_left_out(self) -> None:
        """
        Every deployment is either a candidate or has a reason.
        """
        blind = standing("blind", capabilities=frozenset({"chat"}))
        small = standing("small", context_window=10)
        asked, cooling, locked = standing("asked"), standing("cooling"), standing("locked")
        cooling.cool(5.0)
        locked.disable(60.0)
        broken = standing("broken", gate=lambda now: 12.5 - now)
        sick = down(standing("sick"))
        everybody = [blind, small, asked, cooling, locked, broken, sick, *trio()]

        found = eligible(1.0, everybody, frozenset({"chat", "vision"}), 100, [asked])

        assert "abc" == names(found.candidates)
        assert [
            ("blind", "cannot do vision"),
            ("small", "has room for 10 tokens; some 100 are wanted"),
            ("asked", "was tried"),
            ("cooling", "rests for 4.0s"),
            ("locked", "is left alone for 59.0s, because its key was refused"),
            ("broken", "has an open circuit for 11.5s"),
            ("sick", "failed its health checks"),
        ] == found.left_out
        assert found.retry_after_s is None

    def test_tells_when_somebody_will_be_back(self) -> None:
        """
        If nobody can be asked, the soonest end of a rest says when to come again.
        """
        a, b, c = trio()
        a.cool(20.0)
        b.disable(400.0)
        c.gate = lambda now: 9.0

        assert ("", 9.0) == show(eligible(10.0, [a, b, c]))[::2]
        assert ("", 10.0) == show(eligible(10.0, [a, b]))[::2]

    def test_does_not_promise_what_nobody_knows(self) -> None:
        """
        A circuit that was isolated by hand opens when a hand opens it, and whoever was tried needs no wait.
        """
        isolated = standing("a", gate=lambda now: math.inf)

        assert ("", [("a", "has an open circuit")], None) == show(eligible(0.0, [isolated]))
        assert eligible(0.0, (tried := trio()), tried=tried).retry_after_s is None

    def test_respects_a_rest_that_was_asked_for_even_if_all_rest(self) -> None:
        """
        An upstream that says when to come back is not asked before, however few are left.
        """
        everybody = trio()
        for who in everybody:
            who.cool(30.0)
            down(who)

        assert ("", 25.0) == show(eligible(5.0, everybody))[::2]

    def test_respects_open_circuits_even_if_all_are_open(self) -> None:
        """
        An open circuit is knowledge about this deployment; the panic rule does not touch it.
        """
        everybody = trio(gate=lambda now: 3.0)
        for who in everybody:
            down(who)

        assert ("", 3.0) == show(eligible(0.0, everybody))[::2]

    @pytest.mark.parametrize(("sick", "expected"), [("", "abc"), ("b", "ac"), ("ab", "cab"), ("abc", "abc")])
    def test_doubts_the_health_checks_when_most_fail_them(self, sick: str, expected: str) -> None:
        """
        While at least half are healthy the unhealthy are left out; below that all are asked, the healthy first.
        """
        everybody = trio()
        for who in everybody:
            if who.deployment.name in sick:
                down(who)

        found = eligible(0.0, everybody)

        assert expected == names(found.candidates)
        assert 3 == len(found.candidates) + len(found.left_out)

    def test_keeps_half_of_the_deployments_without_panic(self) -> None:
        """
        One of two is half, and half is enough.
        """
        well, sick = standing("a"), down(standing("b"))

        assert "a" == names(eligible(0.0, [well, sick]).candidates)

    def test_does_not_panic_because_the_healthy_had_their_turn(self) -> None:
        """
        That a healthy deployment was tried in this call makes the health checks no less right.
        """
        well, sick = standing("a"), down(standing("b"))

        assert "" == names(eligible(0.0, [well, sick], tried=[well]).candidates)

    def test_asks_a_small_window_when_there_is_no_larger_one(self) -> None:
        """
        An estimate keeps nobody from being asked if there is nobody else; an ability that is missing does.
        """
        small = standing("a", context_window=10)
        blind = standing("b", capabilities=frozenset({"chat"}))

        assert "a" == names(eligible(0.0, [small, blind], frozenset({"vision"}), 100).candidates)
        assert "c" == names(eligible(0.0, [small, blind, standing("c")], frozenset({"vision"}), 100).candidates)

    def test_asks_no_gate_of_those_who_rest(self) -> None:
        """
        The circuit breaker is asked only if its word decides.
        """
        asked: list[float] = []

        def gate(now: float) -> float:
            asked.append(now)
            return 0.0

        a = standing("a", gate=gate)
        a.cool(5.0)

        eligible(0.0, [a])
        eligible(5.0, [a])

        assert [5.0] == asked


def show(found: Any) -> tuple[str, list[tuple[str, str]], float | None]:
    return names(found.candidates), found.left_out, found.retry_after_s


def down(who: Standing) -> Standing:
    for _ in range(3):
        who.probed(0.0, False)
    return who


def balancer(strategy: str, standings: list[Standing], seed: int = 1) -> Balancer:
    return Balancer(strategy, standings, Random(seed))


class TestBalancer:
    """Who is asked."""

    def test_refuses_a_strategy_that_does_not_exist(self) -> None:
        """
        The error names those that do.
        """
        with pytest.raises(ValueError, match="there is no strategy 'best'; there are ordered, round_robin"):
            balancer("best", trio())

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_takes_the_only_one(self, strategy: str) -> None:
        """
        Where there is one candidate there is no choice.
        """
        a, b, c = trio()

        assert b is balancer(strategy, [a, b, c]).pick(0.0, [b])

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_asks_one_of_weight_zero_only_when_there_is_nobody_else(self, strategy: str) -> None:
        """
        Weight 0 takes a deployment out of the traffic and keeps it for the last need.
        """
        drained, a, b = standing("d", weight=0.0), standing("a"), standing("b")
        choice = balancer(strategy, [drained, a, b])

        assert drained not in {choice.pick(0.0, [drained, a, b]) for _ in range(50)}
        assert drained is choice.pick(0.0, [drained])

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_chooses_the_same_again_for_the_same_state(self, strategy: str) -> None:
        """
        With the same random numbers the same happens.
        """
        runs = []
        for _ in range(2):
            everybody = trio()
            choice = balancer(strategy, everybody)
            runs.append([choice.pick(0.0, everybody).deployment.name for _ in range(30)])

        assert runs[0] == runs[1]

    def test_ordered_takes_the_first(self) -> None:
        """
        The route's order is the order.
        """
        a, b, c = trio()
        choice = balancer("ordered", [a, b, c])

        assert [a, b] == [choice.pick(0.0, [a, b, c]), choice.pick(0.0, [b, c])]

    def test_round_robin_loses_nobodys_turn(self) -> None:
        """
        Who is missing for a while is passed over; the others keep their turns, and so does who comes back.
        """
        a, b, c = trio()
        choice = balancer("round_robin", [a, b, c])

        picked = [choice.pick(0.0, among) for among in [[a, b, c]] * 4 + [[a, c]] * 4 + [[a, b, c]] * 6]

        assert "abca" + "caca" + "bcabca" == names(picked)

    def test_weighted_mixes_the_turns(self) -> None:
        """
        As nginx documents it: weights 5, 1, 1 give a a b a c a a and not five in a row.
        """
        everybody = [standing("a", weight=5), standing("b", weight=1), standing("c", weight=1)]
        choice = balancer("weighted", everybody)

        assert "aabacaa" * 2 == names([choice.pick(0.0, everybody) for _ in range(14)])

    def test_weighted_takes_weights_in_any_unit(self) -> None:
        """
        Fractions and percentages share the traffic exactly the same way.
        """
        for unit in (1.0, 100.0, 0.001):
            everybody = [standing(n, weight=w * unit) for n, w in [("a", 0.7), ("b", 0.2), ("c", 0.1)]]
            choice = balancer("weighted", everybody)

            for _ in range(3):
                assert {"a": 7, "b": 2, "c": 1} == Counter(names([choice.pick(0.0, everybody) for _ in range(10)]))

    def test_least_busy_counts_by_weight(self) -> None:
        """
        Twice the weight carries twice the attempts.
        """
        big, little = standing("a", weight=2), standing("b", weight=1)
        choice = balancer("least_busy", [big, little])
        for _ in range(9):
            choice.pick(0.0, [big, little]).started(0.0)

        assert (6, 3) == (big.in_flight, little.in_flight)

    def test_least_busy_takes_turns_among_equals(self) -> None:
        """
        Calls one after the other are spread as well.
        """
        everybody = trio()
        choice = balancer("least_busy", everybody)

        assert "abcabc" == names([choice.pick(0.0, everybody) for _ in range(6)])

    def test_latency_prefers_the_faster(self) -> None:
        """
        Between two, the one with the quicker first content is asked.
        """
        slow, fast = standing("a"), standing("b")
        answer(slow, 0.0, 2.0)
        answer(fast, 0.0, 0.5)
        choice = balancer("latency", [slow, fast])

        assert {fast} == {choice.pick(0.0, [slow, fast]) for _ in range(20)}

    def test_latency_sees_who_writes_slowly(self) -> None:
        """
        A quick first token does not outweigh a slow rest, where both are known to write.
        """
        quick, steady = standing("a"), standing("b")
        answer(quick, 0.0, 20.2, first=0.2, tokens=200)
        answer(steady, 0.0, 3.0, first=1.0, tokens=200)
        choice = balancer("latency", [quick, steady])

        assert {steady} == {choice.pick(0.0, [quick, steady]) for _ in range(20)}

    def test_latency_compares_in_one_unit(self) -> None:
        """
        Where one is not known to write at any speed, only the first content of both is compared.
        """
        counted, uncounted = standing("a"), standing("b")
        answer(counted, 0.0, 20.2, first=0.2, tokens=200)
        answer(uncounted, 0.0, 3.0, first=1.0)
        choice = balancer("latency", [counted, uncounted])

        assert {counted} == {choice.pick(0.0, [counted, uncounted]) for _ in range(20)}

    def test_latency_minds_the_load(self) -> None:
        """
        Who is twice as fast and carries four times as much is not asked.
        """
        slow, fast = standing("a"), standing("b")
        answer(slow, 0.0, 2.0)
        answer(fast, 0.0, 1.0)
        slow.started(0.0)
        for _ in range(7):
            fast.started(0.0)
        choice = balancer("latency", [slow, fast])

        assert {slow} == {choice.pick(0.0, [slow, fast]) for _ in range(20)}

    @pytest.mark.parametrize("strategy", ["latency", "adaptive"])
    def test_probes_the_unknown_one_at_a_time(self, strategy: str) -> None:
        """
        Who has no history is asked at once, and by nobody else before the answer is there.
        """
        known, cold = standing("a"), standing("b")
        answer(known, 0.0, 2.0)
        choice = balancer(strategy, [known, cold])

        assert cold is choice.pick(0.0, [known, cold])
        cold.started(0.0)
        assert {known} == {choice.pick(0.0, [known, cold]) for _ in range(50)}

    @pytest.mark.parametrize("strategy", ["latency", "adaptive"])
    def test_gives_a_slow_one_one_chance_at_a_time(self, strategy: str) -> None:
        """
        Long after a slow answer it is asked again, once, and not by all who come while it answers.
        """
        usual, slow = standing("a"), standing("b")
        answer(slow, 0.0, 60.0)
        for second in range(600):
            answer(usual, second, 1.0)
        choice = balancer(strategy, [usual, slow])

        assert slow is choice.pick(600.0, [usual, slow])
        slow.started(600.0)
        assert {usual} == {choice.pick(600.0, [usual, slow]) for _ in range(20)}

    @pytest.mark.parametrize("strategy", ["latency", "adaptive"])
    @pytest.mark.parametrize("error", [RateLimited("slow down"), Overloaded("busy"), UpstreamError("broken")])
    def test_fast_errors_draw_no_traffic(self, strategy: str, error: GatewayError) -> None:
        """
        Who answers every call with an error after a millisecond is not taken for the fastest.
        """
        working, failing = standing("a"), standing("b")
        answer(working, 0.0, 0.9)
        fail(failing, 0.0, 0.001, error)
        choice = balancer(strategy, [working, failing])

        assert {working} == {choice.pick(0.0, [working, failing]) for _ in range(20)}

    def test_cost_takes_the_cheapest(self) -> None:
        """
        The lowest price for this request is asked, the first among equals, and whoever has no price last.
        """
        a, b, c = trio()
        choice = balancer("cost", [a, b, c])

        def by(*prices: Decimal | int | None) -> str:
            known = dict(zip([a, b, c], prices, strict=True))
            return choice.pick(0.0, [a, b, c], known.__getitem__).deployment.name

        assert choice.asks_price
        assert "c" == by(Decimal("0.3"), Decimal("0.2"), Decimal("0.1"))
        assert "b" == by(None, 5, 5)
        assert "c" == by(3, 2, 0)
        assert "a" == by(None, None, None)
        assert "a" == choice.pick(0.0, [a, b, c]).deployment.name

    def test_adaptive_is_its_formula(self) -> None:
        """
        Seconds, load, weight, success and price each weigh as documented.
        """
        a, b = standing("a"), standing("b", weight=2.0)
        choice = balancer("adaptive", [a, b])
        answer(a, 0.0, 1.0)
        answer(b, 0.0, 1.9)

        assert "b" == choice.pick(0.0, [a, b]).deployment.name  # 1.0 against 1.9 / 2
        b.started(0.0)
        assert "a" == choice.pick(0.0, [a, b]).deployment.name  # 1.0 against 1.9 x 2 / 2
        prices = {a: 4, b: 1}
        assert "b" == choice.pick(0.0, [a, b], prices.__getitem__).deployment.name  # 1.0 against 1.9 x sqrt(1 / 4)
        prices = {a: 4, b: 2}
        assert "a" == choice.pick(0.0, [a, b], prices.__getitem__).deployment.name  # 1.0 against 1.9 x sqrt(2 / 4)
        a.failing = 0.5
        assert "b" == choice.pick(0.0, [a, b], prices.__getitem__).deployment.name  # 1.0 / 0.5 against 1.34

    def test_adaptive_is_not_bought_by_what_is_free(self) -> None:
        """
        No price makes anybody look more than ten times as fast.
        """
        fast, free = standing("a"), standing("b")
        answer(fast, 0.0, 1.0)
        answer(free, 0.0, 11.0)
        choice = balancer("adaptive", [fast, free])

        free_of_charge: dict[Standing, int | None] = {fast: 10, free: 0}
        assert fast is choice.pick(0.0, [fast, free], free_of_charge.__getitem__)
        assert fast is choice.pick(0.0, [fast, free], dict.fromkeys([fast, free], 0).__getitem__)

    def test_adaptive_takes_an_unknown_price_for_a_high_one(self) -> None:
        """
        Who has no known price is no cheaper than the dearest.
        """
        fast, unpriced = standing("a"), standing("b")
        answer(fast, 0.0, 1.0)
        answer(unpriced, 0.0, 1.1)
        prices: dict[Standing, int | None] = {fast: 1, unpriced: None}

        assert fast is balancer("adaptive", [fast, unpriced]).pick(0.0, [fast, unpriced], prices.__getitem__)

    @pytest.mark.parametrize("strategy", ["latency", "adaptive"])
    def test_no_time_at_all_does_not_win_whatever_the_load(self, strategy: str) -> None:
        """
        Answers in no time, as a simulation gives them, still share the traffic.
        """
        instant, other = standing("a"), standing("b")
        answer(instant, 0.0, 0.0)
        answer(other, 0.0, 0.5)
        for _ in range(600):
            instant.started(0.0)

        assert other is balancer(strategy, [instant, other]).pick(0.0, [instant, other])

    def test_adaptive_takes_turns_among_equals(self) -> None:
        """
        Calls one after the other are spread where nothing speaks for anybody.
        """
        everybody = trio()
        choice = balancer("adaptive", everybody)

        assert "abcabc" == names([choice.pick(0.0, everybody) for _ in range(6)])

    def test_forgets_whoever_is_gone(self) -> None:
        """
        When the deployments change, those who stay keep their turns and those who come get theirs.
        """
        a, b, c = trio()
        choice = balancer("round_robin", [a, b])
        first = [choice.pick(0.0, [a, b]) for _ in range(3)]
        choice.keep([a, c])

        assert "aba" + "caca" == names(first + [choice.pick(0.0, [a, c]) for _ in range(4)])
        choice.keep([standing("d", weight=0.0), a])
        assert a is choice.pick(0.0, [standing("e", weight=0.0), a])
