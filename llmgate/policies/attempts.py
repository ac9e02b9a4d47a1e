"""Whether to try again: the same deployment, another one, or not at all.

One plan a call. Retry, fallback and hedging share its one cap and its one deadline: nested in each other they would
multiply. The plan is told of each failure and gives a verdict; it never waits, and it decides before the wait whether
there is time for both the wait and what comes after it.

    outcome           tries beside others   tries alone   and the deployment
    throttled                 1                 all        rests as long as it asks, or for a backoff
    overloaded                1                 all        rests if it asks to
    transient                 2                 all        rests if it asks to
    ├ a timeout               1                 2
    truncated                 2                 all
    protocol                  2                 2
    auth, quota_exhausted     1                 1          and whoever shares its key are left alone
    request, policy           1                 1
    local                     -                 -          was never asked: nothing is counted

"All" is `max_attempts`. Beside others, a deployment that asks for a rest is left at once: waiting is for those who have
nobody else. Whether an error lets another deployment try is the error's own mark, and `fallback_on` may narrow it.

The caps are those of the official SDKs, botocore and resilience4j (three a deployment) and of gRPC's retry design (a
handful a call, whatever anybody configures); the deadline that spans all attempts is gRPC's, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from ..errors import GatewayError
from .backoff import Backoff

__all__ = ["FALLBACK_ON", "MAX_ATTEMPTS_HARD", "MAX_ATTEMPTS_TOTAL", "Action", "Plan", "Rules", "Verdict"]

MAX_ATTEMPTS = 3  # a deployment and call; botocore, resilience4j, and the SDKs' two retries
MAX_ATTEMPTS_TOTAL = 6  # a call, over all deployments, hedges included: a chain of three, each with a retry
MAX_ATTEMPTS_HARD = 10  # whatever is configured; twice gRPC's limit, for chains of many deployments
MAX_SERVER_DELAY_S = 60.0  # seconds; where vercel/ai stops to believe it, half of what OpenAI's SDK waits
COOL_MAX_S = 300.0  # seconds; as long as a breaker's longest rest
MINIMUM_ATTEMPT_S = 0.5  # seconds; a first token seldom comes sooner
SERVER_DELAY_JITTER = 0.1  # of the delay, on top of it: all who were told the same must not come back together

FALLBACK_ON = frozenset(
    {
        "throttled", "quota_exhausted", "overloaded", "transient", "truncated", "protocol", "auth", "request", "local",
    }
)  # fmt: skip
"""Outcomes that another deployment may repair. `policy` is missing: another one's filter must be asked for by name."""

Action = Literal["again", "elsewhere", "stop"]

_ALL = MAX_ATTEMPTS_HARD
_TRIES: Mapping[str, tuple[int, int]] = {
    "throttled": (1, _ALL),
    "overloaded": (1, _ALL),
    "transient": (2, _ALL),
    "truncated": (2, _ALL),
    "protocol": (2, 2),
}
"""Tries of one deployment beside others, and alone."""
_SILENT = (1, 2)  # who says nothing in time is likely silent twice, so a timeout bears no `again`
_ONCE = (1, 1)


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What a plan keeps to; one for all calls of a route.

    Attributes:
        max_attempts: Of one deployment in one call, the first included.
        max_attempts_total: Of one call, over all deployments, hedges included; at most 10.
        max_server_delay_s: Seconds; who asks for a longer wait is not waited for.
        cool_max_s: Seconds; no deployment is left alone for longer, whatever it asks for.
        minimum_attempt_s: Seconds that must remain for an attempt to be worth its start.
        backoff: Waits before another try of the same deployment.
        throttled_backoff: The same after "too fast" without a word of how long.
        fallback_on: Outcomes after which another deployment may be tried, if the error lets it.

    Raises:
        ValueError: If the caps are below 1, or the total is above 10.
    """

    max_attempts: int = MAX_ATTEMPTS
    max_attempts_total: int = MAX_ATTEMPTS_TOTAL
    max_server_delay_s: float = MAX_SERVER_DELAY_S
    cool_max_s: float = COOL_MAX_S
    minimum_attempt_s: float = MINIMUM_ATTEMPT_S
    backoff: Backoff = field(default_factory=Backoff)
    throttled_backoff: Backoff = field(default_factory=Backoff.for_throttled)
    fallback_on: frozenset[str] = FALLBACK_ON

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {self.max_attempts}")
        if not 1 <= self.max_attempts_total <= MAX_ATTEMPTS_HARD:
            raise ValueError(f"max_attempts_total must be 1 to {MAX_ATTEMPTS_HARD}, not {self.max_attempts_total}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What to do about a failure.

    Attributes:
        action: `again` asks the same deployment, `elsewhere` another one, `stop` raises the error.
        delay_s: Seconds to wait before that; 0.0 unless it is `again`.
        cool_s: Seconds for which all calls should leave this deployment alone; 0.0: it need not rest.
        disable_credential: Whether all calls should leave alone whoever shares this deployment's key.
        retry: Whether what follows is a retry in the eyes of the retry budget: the permit stays taken. Else, and
            after `stop`, it goes back.
        reason: A fragment of a sentence, for traces.
    """

    action: Action
    delay_s: float
    cool_s: float
    disable_credential: bool
    retry: bool
    reason: str


class Plan:
    """
    The attempts of one call.

    Args:
        rules: What to keep to.
        deadline: When the call must be over, on the clock of `now`.
        rng: Where jitter comes from.
        fallback: Whether the caller lets another deployment answer than the first.
        once: Whether it asks for what must not happen twice. Where an upstream may have begun nobody else is asked then.
        keyed: Whether it bears an idempotency key, so that the same deployment knows it again.

    Attributes:
        asked: Attempts so far that reached an upstream and failed.
    """

    __slots__ = (
        "_deadline", "_fallback", "_keyed", "_once", "_refusals", "_rng", "_rules", "_tries", "_waited_s", "asked",
    )  # fmt: skip

    def __init__(
        self, rules: Rules, deadline: float, rng: Random, fallback: bool = True, once: bool = False, keyed: bool = False
    ) -> None:
        self._rules = rules
        self._deadline = deadline
        self._rng = rng
        self._fallback = fallback
        self._once = once
        self._keyed = keyed
        self._tries: dict[str, int] = {}
        self._refusals: tuple[str, ...] = ()
        self._waited_s = 0.0
        self.asked = 0

    def after(
        self,
        now: float,
        deployment: str,
        error: GatewayError,
        others: bool,
        budget_ok: bool = True,
        in_flight: int = 0,
        fresh: bool = False,
    ) -> Verdict:
        """
        Decide what follows an attempt that failed before anything of it was delivered.

        Args:
            now: Seconds, monotonic.
            deployment: Who failed.
            error: How.
            others: Whether there is another deployment that this call has not tried and that could take it; after
                an error of the credential, one with another credential.
            budget_ok: Whether the retry budget has a permit for this call (`take` it first, or hold the one that an
                earlier retry of this call took). It is not looked at before an upstream was asked: to go on after
                an open circuit or a limit of ours costs nobody anything.
            in_flight: Attempts of this call that still run beside the one that failed (hedges).
            fresh: Whether the other deployment is at a provider that this call has not asked yet. To go there is no retry
                of anything: its load is what a fallback is for, and no budget holds it back.
        """
        rules = self._rules
        outcome = error.outcome
        movable = (
            self._fallback and others and outcome in rules.fallback_on and (error.elsewhere or outcome == "policy")
        )
        begun = self._once and error.begun
        if begun:
            movable = False  # another one would not know it again, whatever key it bears
        asks_s: float | None = None
        if outcome == "local":
            # Nobody was asked, so no cap counts it. Who refuses a call twice was reached by going in a circle.
            movable = movable and deployment not in self._refusals
            self._refusals += (deployment,)
            tries = most = 1
        else:
            self.asked += 1
            tries = self._tries[deployment] = self._tries.get(deployment, 0) + 1
            most = min(rules.max_attempts, _most_tries(error, movable))
            asks_s = _usable(error.retry_after)

        again = tries < most and not (movable and asks_s) and budget_ok and (self._keyed or not begun)
        delay_s = self._delay_s(tries, error, asks_s) if again or outcome == "throttled" else 0.0
        cool_s = asks_s or (delay_s if outcome == "throttled" else 0.0)

        action: Action = "stop"
        if self.asked + in_flight >= rules.max_attempts_total:
            reason = f"{error.kind}; {rules.max_attempts_total} attempts are enough for one call"
        elif self.asked and not budget_ok and not (movable and fresh):
            reason = f"{error.kind}; too many retries are in the air already"
        elif again and asks_s and asks_s > rules.max_server_delay_s:
            reason = (
                f"{error.kind}; it asks for {asks_s:g}s, and nobody waits longer than {rules.max_server_delay_s:g}s"
            )
        elif again and self._fits(now, delay_s):
            action = "again"
            reason = (
                f"{error.kind}; it asks for {asks_s:g}s" if asks_s else f"{error.kind}; once more after {delay_s:.2f}s"
            )
        elif movable and self._fits(now, 0.0):
            action = "elsewhere"
            reason = f"{error.kind}; another deployment may do better"
        elif begun and not self._keyed:
            reason = f"{error.kind}; it may have begun, and must not begin twice"
        elif again or movable:
            reason = f"{error.kind}; the deadline leaves no time for another attempt"
        elif tries > 1:
            reason = f"{error.kind}; tried {tries} times, and there is nobody else to ask"
        else:
            reason = f"{error.kind}; another attempt would not help"

        if action == "again":
            self._waited_s += delay_s
        return Verdict(
            action=action,
            delay_s=delay_s if action == "again" else 0.0,
            cool_s=min(cool_s, rules.cool_max_s),
            disable_credential=error.credential,
            retry=action != "stop" and self.asked > 0,
            reason=reason,
        )

    def room(self, now: float, in_flight: int) -> bool:
        """Whether one more attempt may start beside the `in_flight` ones that run: a hedge."""
        return self.asked + in_flight < self._rules.max_attempts_total and self._fits(now, 0.0)

    def _delay_s(self, tries: int, error: GatewayError, asks_s: float | None) -> float:
        if asks_s:
            return asks_s + self._rng.uniform(0.0, SERVER_DELAY_JITTER * asks_s)
        rules = self._rules
        backoff = rules.throttled_backoff if error.outcome == "throttled" else rules.backoff
        return backoff.delay(tries - 1, self._rng, error, self._waited_s)

    def _fits(self, now: float, delay_s: float) -> bool:
        return now + delay_s + self._rules.minimum_attempt_s < self._deadline


def _most_tries(error: GatewayError, movable: bool) -> int:
    beside, alone = _TRIES.get(error.outcome, _ONCE)
    if alone > 1 and not error.again:
        beside, alone = _SILENT
    return beside if movable else alone


def _usable(retry_after_s: float | None) -> float | None:
    """A delay that can be waited for; NaN, infinity, 0 and less are as good as none."""
    return retry_after_s if retry_after_s is not None and 0.0 < retry_after_s < math.inf else None
