"""Errors: what several of them say together."""

from __future__ import annotations

import pickle

import pytest

from llmgate import AllAttemptsFailed, AuthenticationFailed, CircuitOpen, GatewayError, Overloaded, RateLimited
from llmgate.types.reply import Outcome

MARKS = ("kind", "status", "outcome", "again", "elsewhere", "blame", "credential")


@pytest.mark.parametrize(
    ("errors", "telling"),
    [
        ([Overloaded("busy"), RateLimited("slow")], 1),
        ([CircuitOpen("resting"), Overloaded("busy")], 1),
        ([AuthenticationFailed("who?"), RateLimited("slow")], 0),
        ([CircuitOpen("resting"), CircuitOpen("resting, too")], 0),
    ],
    ids=["the upstream's wish", "not our refusal", "the key", "nothing but refusals"],
)
def test_a_group_bears_the_marks_of_its_most_telling_error(errors: list[GatewayError], telling: int) -> None:
    """
    Kind, status and all marks of a group are those of the error that says most, also after pickling.
    """
    group = AllAttemptsFailed("all failed", errors)

    for found in (group, pickle.loads(pickle.dumps(group))):
        assert [getattr(errors[telling], mark) for mark in MARKS] == [getattr(found, mark) for mark in MARKS]


def test_a_call_that_reached_somebody_counts() -> None:
    """
    A group of upstreams' failures was sent, so a limit keeps what it lent; a group of refusals was not.
    """
    assert Outcome.of(AllAttemptsFailed("all failed", [CircuitOpen("resting"), Overloaded("busy")])).sent
    assert not Outcome.of(AllAttemptsFailed("all refused", [CircuitOpen("resting"), CircuitOpen("too")])).sent
