"""The laws of translation: what is said in one format means the same in every other, or is refused by name."""

from __future__ import annotations

import json
import re

from hypothesis import HealthCheck, given, settings, strategies as st

from llmgate.dialects import DIALECTS, dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.foreign import OURS, understood
from llmgate.errors import BadRequest
from llmgate.types.request import Request

from .chats import Json, chats, meaning

MODELS = {
    "anthropic_messages": ("claude-sonnet-4-5", "claude-opus-4-7"),
    "anthropic_vertex": ("claude-sonnet-4-5", "claude-opus-4-7"),
    "bedrock": ("anthropic.claude-sonnet-4-5-v1:0", "openai.gpt-oss-120b-1:0", "amazon.nova-2-lite-v1:0"),
    "bedrock_invoke": (
        "anthropic.claude-sonnet-4-5-v1:0",
        "openai.gpt-oss-120b-1:0",
        "amazon.nova-2-lite-v1:0",
        "cohere.command-r-plus-v1:0",
        "mistral.pixtral-large-2502-v1:0",
    ),
    "cohere": ("command-a-03-2025",),
    "gemini": ("gemini-2.5-flash", "gemini-3-pro-preview"),
    "gemini_interactions": ("gemini-3-pro-preview",),
    "ollama": ("qwen3",),
    "openai_chat": ("gpt-5",),
    "openai_responses": ("gpt-5",),
}
"""Of each format the models that are told things in ways of their own."""

UNORDERED = frozenset({"ollama"})
"""Formats in which images stand beside the text of a message, and not within it."""

FORMATS = st.sampled_from([(name, model) for name, models in MODELS.items() for model in models])
Side = tuple[str, str]

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_every_format_keeps_the_law() -> None:
    """
    Whoever adds a format adds a model to try it with.
    """
    assert DIALECTS.keys() == MODELS.keys()


def sent(side: Side, request: Request) -> Json:
    """What an upstream of the format is sent."""
    name, model = side
    body: Json = json.loads(dialect_named(name).write_request(request.to(model), Quirks()).body)
    return body


def heard(side: Side, body: Json) -> Request:
    """What a server of the format hears; the model may stand in the address."""
    name, model = side
    told = {"modelId": model} if name.startswith("bedrock") else {}
    return dialect_named(name).read_request("chat", body | told)


def named(error: BadRequest, body: Json) -> bool:
    """Whether an error says what cannot be said: a parameter that is there, or a place in one."""
    name = re.split(r"[\[:]", error.message)[0]
    return name in body


def asks_the_same(body: Json, request: Request, *sides: Side) -> None:
    """What was heard at the end asks for what was asked at the beginning, in words that anybody understands."""
    ordered = not any(name in UNORDERED for name, _ in sides)
    plain = understood(request, "nobody's")
    told, asked = meaning(plain, ordered), meaning(body, ordered)
    if "limit" not in asked:
        told.pop("limit", None)  # Messages wants one

    assert asked == told
    assert plain.keys() <= OURS


@quick
@given(chats(), FORMATS)
def test_a_chat_means_the_same_in_every_format(body: Json, side: Side) -> None:
    """
    Written in a format and read back, a chat asks for the same, or what cannot be said in it is refused by name.
    """
    before = json.dumps(body)
    try:
        there = sent(side, Request("chat", "", body))
    except BadRequest as error:
        assert named(error, body), error
    else:
        asks_the_same(body, heard(side, there), side)
    assert before == json.dumps(body)


@quick
@given(chats(), FORMATS, FORMATS)
def test_a_chat_means_the_same_from_any_format_to_any_other(body: Json, one: Side, other: Side) -> None:
    """
    What a caller says in one format is read, written in another and read there: it asks for the same, or is refused by name.
    """
    try:
        there = sent(one, Request("chat", "", body))
    except BadRequest:
        return
    spoken = heard(one, there)
    try:
        further = sent(other, spoken)
    except BadRequest as error:
        assert named(error, spoken.body | {"thinking": "told by other words"}), error
    else:
        asks_the_same(body, heard(other, further), one, other)


@quick
@given(chats(), FORMATS)
def test_what_was_heard_and_changed_is_said_again(body: Json, side: Side) -> None:
    """
    A request that was read and that a middleware had a look at is written as it was, whether or not its original counts.
    """
    try:
        there = sent(side, Request("chat", "", body))
    except BadRequest:
        return
    request = heard(side, there)

    assert there == sent(side, request)
    asks_the_same(body, heard(side, sent(side, request.but())), side)
