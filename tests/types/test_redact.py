"""Words of others, made fit to be shown."""

from __future__ import annotations

import time

import pytest

from llmgate.types.redact import LONGEST_MESSAGE, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: sk-proj-abc_123. Find it", "Incorrect API key provided: [redacted]. Find it"),
        ("Incorrect API key provided: invalid-key.", "Incorrect API key provided: [redacted]."),
        ("Your api key: ****-key is invalid", "Your api key: [redacted] is invalid"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("bearer eyJhbGciOiJI.eyJzdWIiOiIx.sig", "bearer [redacted]"),
        ('{"api_key": "abcd1234", "n": 1}', '{"api_key": "[redacted]", "n": 1}'),
        ("x-api-key=abcdefgh", "x-api-key=[redacted]"),
        ("https://user:pass@host/x?key=AIzaSyabc_def-ghijklmnop", "https://[redacted]@host/x?key=[redacted]"),
        ("gsk_abcdefgh hf_abcdefgh xai-abcdefgh AKIAABCDEFGHIJKL", "[redacted] [redacted] [redacted] [redacted]"),
    ],
)
def test_what_looks_like_a_key_is_not_shown(text, expected):
    """
    Keys by their prefix, behind their name, in headers and in URLs are replaced, and nothing else is.
    """
    assert expected == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4.1` does not exist",
        "Unsupported parameter: 'max_tokens' is not supported",
        "Missing required key: messages",
        "basic requirements and bearer authentication",
        "Rate limit reached in organization org-abc on tokens per min",
        "risk-assessment, desk-lamp, task-queue-length",
    ],
)
def test_sentences_stay_as_they_are(text):
    """
    What is no key is left alone.
    """
    assert text == redacted(text)


def test_a_text_is_cut_to_one_short_line():
    """
    At most 500 characters, or as many as asked for, and no line break.
    """
    assert LONGEST_MESSAGE == len(redacted("x" * 10_000))
    assert "a b" == redacted(" a\n\t b ")
    assert "aaa…" == redacted("a" * 9, 4)
    assert "sk-" not in redacted("x" * 190 + " sk-abcdefghijklmnopqrstuvwxyz", 200)


@pytest.mark.parametrize("text", ["a:", "bearer ", "api key: ", "sk-", "eyJ", "h://", " ", "key=", "/@"])
def test_hostile_text_costs_little(text):
    """
    A megabyte of any half of a pattern is looked at in a few milliseconds.
    """
    start = time.process_time()
    redacted(text * (2**20 // len(text)))

    assert time.process_time() - start < 0.1
