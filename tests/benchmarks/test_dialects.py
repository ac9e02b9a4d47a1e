"""What of the dialects' speed can be a gate: how many functions they call, which does not depend on the machine."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import Any

import pytest

from .dialects import QUIRKS, STREAMS, answers, asked, dialects, requests, streams, told, translate

CHUNK_MAX = {
    "anthropic_messages": 23,
    "bedrock": 30,
    "cohere": 25,
    "gemini": 40,
    "ollama": 37,
    "openai_chat": 19,
    "openai_responses": 32,
}
"""Calls for one event of a stream that comes alone, of a text or of the arguments of a call."""

ANSWER_MAX = 50
TRANSLATION_MAX = {("openai_chat", "anthropic_messages"): 600, ("anthropic_messages", "openai_chat"): 640}
"""Calls for forty messages."""


def calls_of(work: Callable[[], Any]) -> int:
    """Calls of functions, built-in ones included, of one `work` that has been done before."""
    work()
    profile = cProfile.Profile()
    profile.enable()
    work()
    profile.disable()
    return sum(row.callcount for row in profile.getstats()) - 1  # disabling is one, too


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("name", CHUNK_MAX)
def test_an_event_of_a_stream_costs_few_calls(name: str, kind: str) -> None:
    """
    An event that comes alone is framed, parsed and made into a chunk with a handful of function calls.
    """
    events = streams(kind)[name]

    found = calls_of(lambda: told(dialects()[name], events)) / len(events)

    assert found <= CHUNK_MAX[name]


def test_a_whole_answer_costs_few_calls() -> None:
    """
    A chat completion with a text and two calls of tools is read with few function calls.
    """
    dialect, body, request = dialects()["openai_chat"], answers()["openai_chat"], asked()

    assert calls_of(lambda: dialect.read_response(request, body, QUIRKS)) <= ANSWER_MAX


@pytest.mark.parametrize(("given", "wanted"), TRANSLATION_MAX)
def test_a_conversation_is_translated_with_few_calls(given: str, wanted: str) -> None:
    """
    Forty messages with tools, an image and a schema go from OpenAI's format into Anthropic's and back with few calls.
    """
    data = requests()[given]

    found = calls_of(lambda: translate(dialects()[given], dialects()[wanted], data))

    assert found <= TRANSLATION_MAX[given, wanted]
