"""
Every recorded interaction, read as its provider's own SDK reads it, and every recorded request, written as it was sent.

The few that are read otherwise stand with their reasons in `docs/corpus.json`, beside the figures that the documentation
shows. `python -m tests.dialects.test_corpus` writes those.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from llmgate.providers.catalog import ROWS

from . import corpus
from .corpus import Record, body_of
from .reading import RECORDS, asked_for, is_written, provider_of, reader_of, wrong_with, wrong_with_request

pytestmark = corpus.needed

KEPT = Path(__file__).parents[2] / "docs" / "corpus.json"
DEPARTURES: dict[str, str] = json.loads(KEPT.read_text())["departures"]
"""Records that are read otherwise than their SDKs read them, and why."""
DEPARTURES_SHARE = 0.01  # of all records, at most

BYTE_SAMPLE = 4  # one stream in so many is read byte by byte, unless all are wanted
CUT_SAMPLE = 32  # one stream in so many is cut everywhere, unless all are wanted


def named(record: Record) -> str:
    return f"{record['provider']} {record['kind']} {record['id']}"


def params(records: Iterable[Record]) -> list[Any]:
    return [pytest.param(record["id"], id=named(record).replace(" ", "-")) for record in records]


@pytest.mark.parametrize("id", params(RECORDS.values()))
def test_an_answer_is_read_as_its_sdk_reads_it(id: str, record_property: Callable[[str, object], None]) -> None:
    """
    Texts, tool calls, reasons, tokens, vectors and errors of a recorded answer are those that the provider's SDK finds.
    """
    record_property("departs" if id in DEPARTURES else "recorded", named(RECORDS[id]))
    assert (id in DEPARTURES) == bool(wrong_with(id)), wrong_with(id)


@pytest.mark.parametrize("id", params(r for r in RECORDS.values() if is_written(r)))
def test_a_request_goes_out_as_it_came(id: str, record_property: Callable[[str, object], None]) -> None:
    """
    A recorded request, read and written again in its own format, is the same JSON.
    """
    record_property("recorded", named(RECORDS[id]))
    assert [] == wrong_with_request(id)


# --- streams in pieces ------------------------------------------------------------------------------------------------

STREAMS = [record for record in RECORDS.values() if record["streaming"]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A sample of streams, chosen by their ids; all of them with `--all-records`."""
    for name, part in (("bytewise", BYTE_SAMPLE), ("cut", CUT_SAMPLE)):
        if name in metafunc.fixturenames:
            one_in = 1 if metafunc.config.getoption("all_records") else part
            metafunc.parametrize(name, params(record for record in STREAMS if int(record["id"], 16) % one_in == 0))


def test_a_stream_means_the_same_byte_by_byte(bytewise: str) -> None:
    """
    Read in single bytes, a stream gives the same chunks, or ends with the same error.
    """
    corpus.same_byte_by_byte(partial(reader_of, RECORDS[bytewise]), body_of(RECORDS[bytewise]))


def test_a_stream_means_the_same_wherever_it_is_cut(cut: str) -> None:
    """
    Cut in two at any byte, a stream gives the same chunks, or ends with the same error.
    """
    corpus.same_wherever_cut(partial(reader_of, RECORDS[cut]), body_of(RECORDS[cut]))


# --- the documentation ------------------------------------------------------------------------------------------------


def test_departures_are_few() -> None:
    """
    Every record that is read otherwise than its SDK reads it has a reason, and there are hardly any.
    """
    assert DEPARTURES.keys() <= RECORDS.keys()
    assert all(DEPARTURES.values())
    assert len(DEPARTURES) <= DEPARTURES_SHARE * len(RECORDS)


def figures() -> dict[str, dict[str, str]]:
    """By provider and kind: so many records of so many are read and written as they should."""
    passed, found = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for id, record in RECORDS.items():
        of = record["provider"], record["kind"]
        found[of] += 1
        passed[of] += not (wrong_with(id) or (is_written(record) and wrong_with_request(id)))
    table: dict[str, dict[str, str]] = defaultdict(dict)
    for provider, kind in sorted(found):
        table[provider][kind] = f"{passed[provider, kind]} / {found[provider, kind]}"
    return table


@cache
def seen() -> dict[str, str]:
    """By kind of provider: all that was asked for and answered."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in RECORDS.values():
        if record["response_status"] < 300:
            found[provider_of(record).row.name] |= asked_for(record)
    return {kind: " ".join(sorted(can)) for kind, can in sorted(found.items())}


def test_what_was_recorded_is_declared() -> None:
    """
    Whoever answered something when it was recorded is known to be able to do it.
    """
    undeclared = {
        row.name: {*seen().get(row.name, "").split()} - row.capabilities for row in ROWS if row.capabilities is not None
    }

    assert {} == {kind: missing for kind, missing in undeclared.items() if missing}


def told_by_this_run() -> dict[str, Any]:
    return {"figures": figures(), "seen": seen()}


def test_the_documentation_shows_what_is_so() -> None:
    """
    What the documentation shows is what this run tells; if not, `python -m tests.dialects.test_corpus` writes it.
    """
    kept = json.loads(KEPT.read_text())

    assert {name: kept[name] for name in told_by_this_run()} == told_by_this_run()


if __name__ == "__main__":
    KEPT.write_text(json.dumps({"departures": DEPARTURES} | told_by_this_run(), indent=2, sort_keys=True) + "\n")
