"""What an upstream asks for in its headers, and what is believed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmgate.policies.server_delay import server_delay

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
DATE_WALL = 1445412480.0  # the same moment


@pytest.mark.parametrize(
    "nonsense",
    [
        "", " ", "nan", "inf", "-inf", "infinity", "-1", "-0.5", "0", "0.0", "1e400", "9" * 400, "1_000", "٣", "0x10", "soon", "1 s",
        "Tue, 20 Oct 2015 07:28:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", DATE,
        "Wed, 99999999999999999999 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
        "2015-13-41T99:00:00Z", "5" + ", 5" * 100, "," * 100_000,
    ],
)  # fmt: skip
def test_nonsense_is_as_good_as_nothing(nonsense):
    """
    A value that is no number, not finite, not positive or in the past tells nothing.
    """
    headers = {"retry-after": nonsense, "retry-after-ms": nonsense, "date": DATE}

    assert server_delay(headers) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("2.5", 2.5),
        (" 3 ", 3.0),
        ("1e1", 10.0),
        ("22s", 22.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", 30.0),
        ("2015-10-21T07:28:30Z", 30.0),
        ("2015-10-21T09:28:30+02:00", 30.0),
        ("2015-10-21T07:28:30", 30.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 2650838400.0),
    ],
)
def test_seconds_and_dates_are_read(value, seconds):
    """
    Seconds may be whole or not, a date may be any of HTTP's three or RFC 3339, and none is too far away to be told.
    """
    assert seconds == server_delay({"retry-after": value, "date": DATE})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1, 99999", 99999.0),
        ("99999,1", 99999.0),
        ("nan, 5", 5.0),
        (", 5,", 5.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT, 5", 30.0),
        ("45, Wed, 21 Oct 2015 07:28:30 GMT", 45.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT, Wed, 21 Oct 2015 07:28:31 GMT", 31.0),
    ],
)
def test_of_two_values_the_longest_wins(value, seconds):
    """
    Duplicates come joined by a comma; the longest usable one is meant, and the comma of a date joins nothing.
    """
    assert seconds == server_delay({"retry-after": value, "date": DATE})


def test_a_date_is_measured_against_the_answers_own():
    """
    The answer's `Date` is the clock, however wrong ours is; only without one is ours asked.
    """
    headers = {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}

    assert 30.0 == server_delay({**headers, "date": DATE}, DATE_WALL + 1e6)
    assert 20.0 == server_delay(headers, DATE_WALL + 10.0)
    assert 20.0 == server_delay({**headers, "date": "yesterday"}, DATE_WALL + 10.0)
    assert server_delay(headers) is None


def test_a_date_without_a_zone_is_utc_wherever_we_are():
    """
    The machine's own time zone has no say.
    """
    code = (
        "from llmgate.policies.server_delay import server_delay\n"
        f"print(server_delay({{'retry-after': 'Wed Oct 21 07:28:30 2015', 'date': {DATE!r}}}))"
    )
    environment = {**os.environ, "TZ": "America/New_York", "PYTHONPATH": os.pathsep.join(sys.path)}

    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert "30.0" == told.stdout.strip()


def test_the_first_usable_header_is_believed():
    """
    Milliseconds before seconds before resets, and an unusable one stands in nobody's way.
    """
    resets = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}

    assert 1.5 == server_delay({"retry-after-ms": "1500", "retry-after": "7", **resets})
    assert 1.0 == server_delay({"retry-after-ms": "0", "retry-after": "1", **resets})
    assert 9.0 == server_delay({"retry-after-ms": "nan", "retry-after": "soon", **resets})


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("12ms", 0.012), ("1m0.198s", 60.198), ("1h2m3s", 3723.0), ("250µs", 0.00025),
     ("1", 1.0), ("0s", None), ("0", None), ("-1", None), ("1d", None), ("s", None), ("6m0", None)],
)  # fmt: skip
def test_resets_are_go_durations(reset, seconds):
    """
    A reset is a Go duration or plain seconds.
    """
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": reset}

    assert pytest.approx(seconds) == server_delay(headers)


def test_only_what_is_used_up_has_to_come_back():
    """
    A dimension counts if nothing of it remains; of several such the last to come back counts.
    """
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-input-images": "0.0",
        "x-ratelimit-reset-input-images": "4s",
        "x-ratelimit-remaining-tokens": "17",
        "x-ratelimit-reset-tokens": "1h",
        "x-ratelimit-remaining-seats": "-1",
        "x-ratelimit-reset-seats": "2h",
        "x-ratelimit-reset-words": "3h",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1445412480",
    }

    assert 4.0 == server_delay(headers)


def test_resets_may_be_moments():
    """
    `<vendor>-ratelimit-<dimension>-reset` is an RFC 3339 moment, measured against the answer's `Date`.
    """
    headers = {
        "acme-ratelimit-input-tokens-remaining": "0",
        "acme-ratelimit-input-tokens-reset": "2015-10-21T07:28:42Z",
        "acme-ratelimit-requests-remaining": "0",
        "acme-ratelimit-requests-reset": "2015-10-21T07:27:59Z",
        "acme-ratelimit-output-tokens-remaining": "12",
        "acme-ratelimit-output-tokens-reset": "2015-10-21T09:00:00Z",
        "date": DATE,
    }

    assert 42.0 == server_delay(headers)
