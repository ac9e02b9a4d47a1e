"""What is written down while a simulation runs: every call, every request to an upstream, every turn of a circuit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal

from ..policies.breaker import Transition

__all__ = ["OPEN", "Ask", "Ledger", "Visit"]

OPEN = "open"
"""The outcome of what has not ended."""


class Visit:
    """
    One call.

    Attributes:
        at: When it came, in seconds from the beginning.
        prompt: Tokens of its prompt.
        wanted: Tokens of the answer that it gets when it gets one.
        outcome: `ok`, or the kind of its error.
        took_s: Seconds until it was over.
        first_s: Seconds to its first content; None if none came, and for whole answers.
        cached: The tier of the cache that answered, or None.
        attempts: Requests that upstreams received because of it.
        cost: What they bill for that, in US dollars.
    """

    __slots__ = (
        "at", "attempts", "cached", "cost", "first_s", "outcome", "prompt", "route", "streamed", "tenant", "took_s",
        "wanted",
    )  # fmt: skip

    def __init__(self, at: float, route: str, tenant: str, streamed: bool, prompt: int, wanted: int) -> None:
        self.at = at
        self.route = route
        self.tenant = tenant
        self.streamed = streamed
        self.prompt = prompt
        self.wanted = wanted
        self.outcome = OPEN
        self.took_s = 0.0
        self.first_s: float | None = None
        self.cached: str | None = None
        self.attempts = 0
        self.cost = Decimal(0)

    def __str__(self) -> str:
        first = "" if self.first_s is None else f"{self.first_s:.6f}"
        return (
            f"{self.at:.6f} {self.route} {self.tenant} {self.outcome} {self.took_s:.6f} {first} {self.cached} "
            f"{self.attempts} {self.cost}"
        )


class Ask:
    """
    One request that an upstream received.

    Attributes:
        at: When, in seconds from the beginning.
        outcome: `ok`, the kind of error that it was answered with, `timeout` if its caller waited no longer, or `closed`
            if he had enough.
        took_s: Seconds until it was over.
        read: Tokens that are billed as read.
        written: Tokens that are billed as written.
        cost: The bill; None if the price is not known.
    """

    __slots__ = ("at", "cost", "deployment", "outcome", "read", "took_s", "written")

    def __init__(self, at: float, deployment: str) -> None:
        self.at = at
        self.deployment = deployment
        self.outcome = OPEN
        self.took_s = 0.0
        self.read = self.written = 0
        self.cost: Decimal | None = Decimal(0)

    def __str__(self) -> str:
        return f"{self.at:.6f} {self.deployment} {self.outcome} {self.took_s:.6f} {self.written} {self.cost}"


@dataclass(slots=True)
class Ledger:
    """Everything that was written down, each list in order of time."""

    visits: list[Visit] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    turns: list[tuple[str, Transition]] = field(default_factory=list)

    def trace(self) -> str:
        """A digest of all that happened, to a millionth of a second: two runs with one digest are one run."""
        digest = hashlib.blake2b(digest_size=16)
        for line in (*self.visits, *self.asks):
            digest.update(f"{line}\n".encode())
        for name, turn in self.turns:
            digest.update(f"{turn.at:.6f} {name} {turn.new}\n".encode())
        return digest.hexdigest()
