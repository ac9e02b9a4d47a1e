"""Words of others, made fit to be shown: short, and without what looks like a key.

An upstream likes to repeat what it refused. What it says ends up in exceptions, logs and traces, so every such
text passes here once, where it enters.

The patterns know keys by their looks; a key that looks like a word is not found. The keys a process holds
are never sent through here on purpose, see `llmgate.types.secret`.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST_MESSAGE", "redacted"]

LONGEST_MESSAGE = 500  # characters; the longest sentence that a provider's error was seen to hold has 420
_SEARCHED = 16  # times the limit; what stands behind that is cut off before the patterns look

_MARK = "[redacted]"

_SECRETS = re.compile(
    r"""
      (?P<scheme> \b (?: bearer | basic ) \s+ (?= \S*\d ) ) [\w.~+/=*-]{6,}                       # an authorization header
    | (?P<name> (?: \b (?: api [\s_-]? key | access [\s_-]? token | auth [\s_-]? token | authorization
                         | password | secret ) \b (?: \s+ provided )? ["']? \s* [:=] | [?&] key = ) \s* ["']? )
      (?! (?: bearer | basic ) \b ) [\w.~+/*-]{3,} [\w~+/*-]                           # a key behind its name
    | (?P<user> \b [a-z][a-z0-9+.-]{1,9} :// ) [^\s/@]+ (?= @ )                        # a password in a URL
    | \b (?: sk | pk | rk | gsk | xai | hf | pplx | r8 | nvapi | csk | fw | tgp ) [-_] [\w*-]{6,}
    | \b AIza [\w-]{16,}
    | \b (?: AKIA | ASIA ) [A-Z0-9]{12,}
    | \b ya29\. [\w.-]{8,}
    | \b eyJ [\w-]{8,} \. [\w.-]{8,}                                                   # a JSON web token
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redacted(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """
    The text on one line, with `[redacted]` for whatever looks like a credential, and at most `limit` characters.
    """
    text = _SECRETS.sub(_without, text[: limit * _SEARCHED])
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _without(match: re.Match[str]) -> str:
    return (match["scheme"] or match["name"] or match["user"] or "") + _MARK
