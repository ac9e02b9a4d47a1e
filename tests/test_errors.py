"""Errors: each says what may be done about it, wherever it travels, and several say it together."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from llmgate import errors
from llmgate.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    GatewayError,
    Overloaded,
    PermissionDenied,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
    UpstreamFailure,
    UpstreamTimeout,
)
from llmgate.runtime.http import Untrusted
from llmgate.types.call import Attempt
from llmgate.types.reply import Outcome
from llmgate.types.response import Choice, Response

MARKS = ("kind", "status", "outcome", "again", "elsewhere", "blame", "credential")
CLASSES = [getattr(errors, name) for name in errors.__all__]
SINGLE = [cls for cls in CLASSES if cls is not AllAttemptsFailed]
ATTEMPT = Attempt("openai/gpt", "throttled", "rate_limited", 429, "req_1")


class Drawn:
    """One line of the tree that the module draws of its classes."""

    def __init__(self, depth: int, name: str, marks: list[str]) -> None:
        self.depth = depth
        self.name = name
        self.marks = marks

    def __repr__(self) -> str:
        return self.name


def drawn() -> Iterator[Drawn]:
    for line in (errors.__doc__ or "").splitlines():
        if found := re.fullmatch(r"    ((?:[│ ]  )*)(?:[├└]─ )?([A-Z]\w+)(.*)", line):
            stem, name, rest = found.groups()
            depth = 0 if name == "GatewayError" else 1 + len(stem) // 3
            yield Drawn(depth, name, [] if rest.strip().startswith("(") else rest.split())


TABLE = list(drawn())


class TestTable:
    """The table at the top of the module is the truth about the classes."""

    def test_it_has_every_class(self) -> None:
        """
        Every class the module offers stands in the table once, and nothing else does.
        """
        assert errors.__all__ == sorted(line.name for line in TABLE)

    def test_it_draws_the_tree(self) -> None:
        """
        A class stands below the one it is made of.
        """
        above: dict[int, str] = {}
        for line in TABLE:
            above[line.depth] = line.name
            if line.depth:
                assert above[line.depth - 1] == getattr(errors, line.name).__bases__[0].__name__

    @pytest.mark.parametrize("line", [line for line in TABLE if line.marks], ids=repr)
    def test_every_mark_is_as_it_says(self, line: Drawn) -> None:
        """
        Outcome, again, elsewhere, blame, credential and status are those of the class.
        """
        outcome, again, elsewhere, blame, credential, status = line.marks
        cls = getattr(errors, line.name)

        assert (outcome, int(status)) == (cls.outcome, cls.status)
        assert {"yes": True, "-": False}[again] is cls.again
        assert {"yes": True, "-": False}[elsewhere] is cls.elsewhere
        assert {"yes": True, "-": False}[blame] is cls.blame
        assert {"yes": True, "-": False}[credential] is cls.credential

    def test_every_leaf_has_marks(self) -> None:
        """
        A class that others are not made of has all its marks in the table; a class that others are made of has none.
        """
        made_of = {AllAttemptsFailed, *(base for cls in CLASSES for base in cls.__bases__)}

        assert [line for line in TABLE if getattr(errors, line.name) not in made_of] == [
            line for line in TABLE if line.marks
        ]

    @pytest.mark.parametrize("cls", CLASSES)
    def test_its_kind_is_its_name(self, cls: type[GatewayError]) -> None:
        """
        `kind` is the class's name in small letters, for those who see errors as data.
        """
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower() == cls.kind

    @pytest.mark.parametrize("cls", CLASSES)
    def test_marks_agree(self, cls: type[GatewayError]) -> None:
        """
        Whoever may be asked again may be left for another; blame falls on upstreams alone, and no key is at fault there.
        """
        assert cls.elsewhere or not cls.again
        assert issubclass(cls, UpstreamFailure) or not (cls.blame or cls.again)
        assert not (cls.blame and cls.credential)
        assert cls.__doc__


class TestFields:
    """What an error knows."""

    @pytest.mark.parametrize("cls", SINGLE)
    def test_it_needs_nothing(self, cls: type[GatewayError]) -> None:
        """
        Every error can be made of nothing, and then says its class's status.
        """
        error = cls()

        assert ("", "", cls.status) == (str(error), error.message, error.status)
        assert ((), None, None, None, None) == (
            error.attempts, error.deployment, error.retry_after, error.request_id, error.code,
        )  # fmt: skip

    def test_its_status_is_the_upstreams(self) -> None:
        """
        The upstream's own status wins over the class's, for this error alone.
        """
        assert 529 == Overloaded("busy", status=529).status
        assert 503 == Overloaded("busy").status

    def test_a_configuration_error_says_where(self) -> None:
        """
        The path stands before the message, and by itself.
        """
        error = ConfigError("is no duration", path="timeouts.total")

        assert ("timeouts.total: is no duration", "timeouts.total") == (str(error), error.path)
        assert "no provider" == str(ConfigError("no provider"))

    def test_some_know_more(self) -> None:
        """
        A timeout knows its clock, a broken stream what had come, a budget its limit and what was spent.
        """
        broken, spent = made(StreamInterrupted), made(BudgetExceeded)

        assert "first_token" == made(UpstreamTimeout).timer  # type: ignore[attr-defined]
        assert "Hel" == broken.partial.text  # type: ignore[attr-defined]
        assert (Decimal("25.00"), Decimal("24.98")) == (spent.limit, spent.spent)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("begun", "errors_"),
        [
            (True, [UpstreamError(), UpstreamTimeout(timer="first_token"), ConnectionFailed(), ProtocolError()]),
            (True, [StreamInterrupted(), AllAttemptsFailed("all", [RateLimited(), UpstreamError()])]),
            (False, [RateLimited(), Overloaded(), UpstreamTimeout(timer="connect"), ConnectionFailed(begun=False)]),
            (False, [BadRequest(), QuotaExhausted(), CircuitOpen(), DeadlineExceeded(), Untrusted()]),
            (False, [AllAttemptsFailed("all", [RateLimited(), BadRequest()])]),
        ],
    )
    def test_it_knows_whether_the_upstream_may_have_begun(self, begun: bool, errors_: list[GatewayError]) -> None:
        """
        Who failed may have begun, and who was never reached, who refused and who is too busy has not.
        """
        assert [begun] * len(errors_) == [error.begun for error in errors_]
        assert [begun] * len(errors_) == [pickle.loads(pickle.dumps(error)).begun for error in errors_]

    @pytest.mark.parametrize("cls", CLASSES)
    def test_it_holds_what_it_says_and_nothing_else(self, cls: type[GatewayError]) -> None:
        """
        No error has a field in which a request, a header or a key would travel.
        """
        known = {"deployment", "attempts", "status", "retry_after", "request_id", "code", "begun"}
        own = {"path", "timer", "partial", "limit", "spent", "telling"} | {*MARKS}

        assert set(vars(made(cls))) - own <= known


def made(cls: type[GatewayError]) -> GatewayError:
    """An error with something in every field."""
    fields: dict[str, Any] = {
        "deployment": "openai/gpt", "attempts": [ATTEMPT], "status": 499, "retry_after": 2.5, "request_id": "req_1",
        "code": "too_fast",
    }  # fmt: skip
    special: dict[type[GatewayError], dict[str, Any]] = {
        ConfigError: {"path": "routes.fast"},
        UpstreamTimeout: {"timer": "first_token"},
        StreamInterrupted: {"partial": Response(choices=[Choice(text="Hel")], priced=lambda answer: Decimal("0.5"))},
        BudgetExceeded: {"limit": Decimal("25.00"), "spent": Decimal("24.98")},
    }
    if cls is AllAttemptsFailed:
        return AllAttemptsFailed("all failed", [made(RateLimited), made(StreamInterrupted)], attempts=[ATTEMPT])
    return cls("it failed", **fields, **special.get(cls, {}))


class Theirs(UpstreamError):
    def __init__(self, message: str, *, region: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.region = region


class TestJourney:
    """Errors that travel to another process."""

    @pytest.mark.parametrize("way", ["pickle", "pickle 2", "copy", "deepcopy"])
    @pytest.mark.parametrize("cls", CLASSES)
    def test_it_arrives_with_every_field(self, cls: type[GatewayError], way: str) -> None:
        """
        Every class comes back with its text, its fields, its marks and its notes.
        """
        error = made(cls)
        error.add_note("seen in Oslo")
        found = {
            "pickle": lambda: pickle.loads(pickle.dumps(error)),
            "pickle 2": lambda: pickle.loads(pickle.dumps(error, 2)),
            "copy": lambda: copy.copy(error),
            "deepcopy": lambda: copy.deepcopy(error),
        }[way]()

        assert cls is type(found)
        assert (str(error), error.message, ["seen in Oslo"]) == (str(found), found.message, found.__notes__)
        assert [getattr(error, mark) for mark in MARKS] == [getattr(found, mark) for mark in MARKS]
        assert vars(error).keys() == vars(found).keys()
        for name in set(vars(error)) - {"telling"}:
            assert getattr(error, name) == getattr(found, name)

    def test_a_class_of_somebody_elses_arrives(self) -> None:
        """
        A class that cannot be made of its message alone travels like ours.
        """
        found = pickle.loads(pickle.dumps(Theirs("it failed", region="eu", deployment="a/x")))

        assert ("it failed", "eu", "a/x") == (str(found), found.region, found.deployment)

    def test_what_came_of_a_stream_arrives_with_its_cost(self) -> None:
        """
        The partial answer of a broken stream travels, though its price list cannot.
        """
        error = made(StreamInterrupted)
        assert isinstance(error, StreamInterrupted)

        assert Decimal("0.5") == error.partial.cost == pickle.loads(pickle.dumps(error)).partial.cost

    def test_a_cause_stays_behind(self) -> None:
        """
        What caused an error may be an SDK's exception with a key in its headers; it does not travel.
        """
        try:
            try:
                raise ConnectionError("x-api-key: sk-very-secret")
            except ConnectionError as cause:
                raise UpstreamError("it broke") from cause
        except UpstreamError as error:
            assert isinstance(error.__cause__, ConnectionError)
            written = pickle.dumps(error)

        found = pickle.loads(written)
        assert (None, None, None) == (found.__cause__, found.__context__, found.__traceback__)
        assert b"sk-very-secret" not in written


class TestAllAttemptsFailed:
    """What several errors say together."""

    @pytest.mark.parametrize(
        ("errors", "telling"),
        [
            ([Overloaded("busy"), RateLimited("slow")], 1),
            ([CircuitOpen("resting"), Overloaded("busy")], 1),
            ([AuthenticationFailed("who?"), RateLimited("slow")], 0),
            ([CircuitOpen("resting"), CircuitOpen("resting, too")], 0),
            ([Overloaded("busy"), Overloaded("busy, too")], 0),
        ],
        ids=["the upstream's wish", "not our refusal", "the key", "nothing but refusals", "the first of equals"],
    )
    def test_bears_the_marks_of_the_most_telling(self, errors: list[GatewayError], telling: int) -> None:
        """
        Kind, status and all marks of a group are those of the error that says most, also after pickling.
        """
        group = AllAttemptsFailed("all failed", errors)

        for found in (group, pickle.loads(pickle.dumps(group))):
            assert [getattr(errors[telling], mark) for mark in MARKS] == [getattr(found, mark) for mark in MARKS]
            assert found.exceptions[telling] is found.telling

    def test_what_tells_most(self) -> None:
        """
        The request before the account and the key, those before the upstream's wish, its troubles and its silence,
        and all of them before a refusal of our own.
        """
        order: list[GatewayError] = [
            BadRequest("bad"), ContentFiltered("no"), QuotaExhausted("broke"), PermissionDenied("not you"),
            RateLimited("slow"), Overloaded("busy"), UpstreamTimeout("late"), StreamInterrupted("cut"),
            ProtocolError("what?"), DeadlineExceeded("over"),
        ]  # fmt: skip

        for at, error in enumerate(order):
            assert error is AllAttemptsFailed("all failed", order[at:][::-1]).telling
        assert ContextWindowExceeded.outcome == BadRequest.outcome

    def test_tells_who_and_where_of_the_most_telling(self) -> None:
        """
        Deployment, request id and code are the most telling attempt's; the wait is the soonest of all.
        """
        group = AllAttemptsFailed(
            "all failed",
            [
                CircuitOpen("resting", retry_after=1.5, deployment="b/x"),
                RateLimited("slow", status=430, retry_after=30.0, deployment="a/x", request_id="req_1", code="tokens"),
                Overloaded("busy"),
            ],
            attempts=[ATTEMPT],
        )

        assert ("a/x", "req_1", "tokens", 430, 1.5) == (
            group.deployment, group.request_id, group.code, group.status, group.retry_after,
        )  # fmt: skip
        assert (ATTEMPT,) == group.attempts
        assert AllAttemptsFailed("all failed", [Overloaded("busy")]).retry_after is None

    def test_says_its_own_sentence(self) -> None:
        """
        `message` is the sentence alone; the text counts the errors, as every group's does.
        """
        group = AllAttemptsFailed("all failed", [RateLimited("a"), RateLimited("b")])

        assert "all failed" == group.message
        assert "all failed (2 sub-exceptions)" == str(group)

    def test_splits_into_groups_that_say_their_part(self) -> None:
        """
        `split` and `subgroup` give groups with the marks of what is in them, and with all attempts.
        """
        group = AllAttemptsFailed(
            "all failed", [AuthenticationFailed("who?"), RateLimited("slow", retry_after=3.0)], attempts=[ATTEMPT]
        )
        slow, rest = group.split(RateLimited)

        assert isinstance(slow, AllAttemptsFailed) and isinstance(rest, AllAttemptsFailed)
        assert ("rate_limited", 429, True, 3.0) == (slow.kind, slow.status, slow.again, slow.retry_after)
        assert ("authentication_failed", True, None) == (rest.kind, rest.credential, rest.retry_after)
        assert (ATTEMPT,) == slow.attempts == rest.attempts
        assert "all failed" == slow.message == rest.message
        assert group.subgroup(CircuitOpen) is None

    def test_is_caught_piece_by_piece(self) -> None:
        """
        `except*` takes the attempts apart; what nobody took is raised on, a group like the first.
        """
        caught: list[BaseException] = []
        with pytest.raises(AllAttemptsFailed) as left:
            try:
                raise AllAttemptsFailed(
                    "all failed", [AuthenticationFailed("who?"), RateLimited("a"), RateLimited("b")]
                )
            except* RateLimited as group:
                caught += group.exceptions

        assert ["a", "b"] == [str(error) for error in caught]
        assert "authentication_failed" == left.value.kind

    def test_is_caught_as_one(self) -> None:
        """
        Whoever catches `GatewayError`, or an `ExceptionGroup`, catches it.
        """
        for cls in (GatewayError, ExceptionGroup):
            with pytest.raises(cls):
                raise AllAttemptsFailed("all failed", [RateLimited("slow")])

    def test_groups_within_groups(self) -> None:
        """
        A group is an attempt's error like any other: its marks are those of its own most telling error.
        """
        inner = AllAttemptsFailed("inner", [CircuitOpen("resting"), RateLimited("slow")])
        outer = AllAttemptsFailed("outer", [Overloaded("busy"), inner])

        assert inner is outer.telling
        assert "rate_limited" == outer.kind

    def test_needs_an_attempt(self) -> None:
        """
        There is no group of nothing.
        """
        with pytest.raises(ValueError):
            AllAttemptsFailed("all failed", [])

    def test_a_call_that_reached_somebody_counts(self) -> None:
        """
        A group of upstreams' failures was sent, so a limit keeps what it lent; a group of refusals was not.
        """
        sent = AllAttemptsFailed("all failed", [CircuitOpen("resting"), Overloaded("busy")])
        refused = AllAttemptsFailed("all refused", [CircuitOpen("resting"), CircuitOpen("too")])

        assert ["overloaded", "local"] == [Outcome.of(sent).name, Outcome.of(refused).name]
