"""Laws of reading headers that anybody may have written."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given, settings, strategies as st

from llmgate.policies.server_delay import server_delay

moments = st.datetimes(datetime(1970, 1, 2), datetime(2099, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=0)
)
dates = moments.map(lambda at: format_datetime(at, usegmt=True))
pieces = st.sampled_from(
    [*"0123456789.,:-+eTZ smh", "Wed, ", "21 Oct ", "2015 ", "07:28:00 ", "GMT", "ms", "nan", "inf"]
)
values = st.text() | st.lists(pieces, max_size=12).map("".join) | dates | st.floats().map(str)
names = st.sampled_from(
    ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-requests", "x-ratelimit-remaining-requests",
     "x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens", "acme-ratelimit-tokens-reset", "acme-ratelimit-tokens-remaining"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, values | st.just("0")), st.none() | st.floats(0.0, 4e9))
def test_whatever_comes_a_delay_is_positive_and_finite_or_none(headers, now_wall):
    """
    No header makes it fail, and no header makes a wait of nothing, of for ever or of less.
    """
    delay = server_delay(headers, now_wall)

    assert delay is None or 0.0 < delay < math.inf


@settings(max_examples=100, deadline=None)
@given(moments, st.integers(-1000, 1000), st.integers(1, 1000))
def test_a_date_means_its_distance_from_the_answers_own(date, distance_s, longer_s):
    """
    A moment written as a date is as far away as it is from `Date`; a duplicate may only make it longer.
    """
    headers = {
        "date": format_datetime(date, usegmt=True),
        "retry-after": format_datetime(moved(date, distance_s), usegmt=True),
    }

    assert (float(distance_s) if distance_s > 0 else None) == server_delay(headers)
    headers["retry-after"] += f", {longer_s}"
    assert float(max(distance_s, longer_s)) == server_delay(headers)


def moved(date: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(date.timestamp() + seconds, UTC)
