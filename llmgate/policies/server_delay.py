"""How long the upstream asks to be left alone, read out of the headers of its answer.

Three families of headers say it, and the first that says something usable is believed:

1. `retry-after-ms`: milliseconds
2. `retry-after`: seconds, or a date (RFC 9110, section 10.2.3)
3. `…ratelimit-reset-<dimension>` and `…ratelimit-<dimension>-reset`, of each dimension whose `remaining` is 0:
   seconds, a Go duration (`6m0s`, `12ms`), or a date (RFC 3339)

A date is measured against the `Date` of the same answer, so the two clocks compared are one clock. A header
that came twice arrives joined by a comma; the longest wish is granted. Whatever is no number, not finite or
not positive is as good as unsaid. A reset without a dimension is not read: some send seconds, some an epoch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["server_delay"]

LONGEST_VALUE = 256  # characters; eight dates. What is longer was not written to be read

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(f"(?:{_DURATION_PART.pattern})+", re.ASCII)
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_RESET = re.compile(r"ratelimit-(?:reset-.|.+-reset$)", re.ASCII)


def server_delay(headers: Mapping[str, str], now_wall: float | None = None) -> float | None:
    """
    Seconds to wait before the upstream wants to be asked again; None if it did not say.

    Args:
        headers: Names in lower case, duplicates joined with a comma.
        now_wall: Seconds since the epoch, for answers without a usable `Date`; None: their dates are not read.
    """
    delay = _longest(headers.get("retry-after-ms"), 1e-3, headers, now_wall)
    if delay is None:
        delay = _longest(headers.get("retry-after"), 1.0, headers, now_wall)
    if delay is None:
        # Every exhausted dimension has to come back before a request can succeed.
        resets = (
            _longest(value, 1.0, headers, now_wall)
            for name, value in headers.items()
            if _RESET.search(name) and _is_zero(headers.get(name.replace("reset", "remaining"), ""))
        )
        delay = max((reset for reset in resets if reset is not None), default=None)
    return delay


def _longest(value: str | None, unit_s: float, headers: Mapping[str, str], now_wall: float | None) -> float | None:
    if not value or len(value) > LONGEST_VALUE:
        return None
    # The comma after a weekday splits, too: what is left of the date is still one.
    delays = (_seconds(part.strip(), unit_s, headers, now_wall) for part in value.split(","))
    return max((delay for delay in delays if delay is not None and 0.0 < delay < math.inf), default=None)


def _seconds(text: str, unit_s: float, headers: Mapping[str, str], now_wall: float | None) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text) * unit_s
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(text))
    until = _instant(text)
    if until is None:
        return None
    since = _instant(headers.get("date", ""))
    if since is None:
        since = now_wall
    return None if since is None else until - since


def _instant(text: str) -> float | None:
    """Seconds since the epoch; any of the three HTTP dates, or RFC 3339. A date without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # the latter for a day or a year of twenty digits
        return None


def _is_zero(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and float(text) == 0.0
