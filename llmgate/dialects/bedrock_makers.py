"""
Whose words a model on Bedrock speaks: how the makers call things, as data, and how to tell them apart.

A model tells by its name who made it, a body and an event by their keys. The ARN of an application's own inference
profile tells nothing: whoever invokes one knows the maker.

Sources, checked 2026-11-20: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html and the pages
below it, and recorded bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..types.request import Request, Verb
from .bedrock_streams import KINDS
from .openai_words import Json
from .shapes import MISSHAPEN

__all__ = [
    "ANTHROPICS", "CONVERSES", "FIRSTS", "MAKERS", "OPENAIS", "WORDS", "Maker", "Words", "asked_in", "format_of", "of_answer", "of_body",
    "of_model", "of_request",
]  # fmt: skip

ANTHROPICS, CONVERSES, FIRSTS, OPENAIS = "anthropic", "converse", "cohere", "openai"
"""Whose words a chat has: Anthropic's, Converse's (Nova's), those of Cohere's first chat, OpenAI's."""


@dataclass(frozen=True, slots=True)
class Maker:
    """
    The words of one maker of models.

    Attributes:
        marks: What stands in the names of its models, but for Amazon's `us.` in front.
        signs: Keys of which its answers have one, and no other maker's have it.
        text: Where the text stands in an answer, key by key.
        stop: Where it says why it ended.
        names: OpenAI's parameters and what it calls them.
        prompt: What it calls the text to be continued.
        inside: What holds its parameters; empty if they stand beside the prompt.
        many: What holds several answers in a body; empty if there is only one.
        listed: Whether an event holds them in the same way.
        words: OpenAI's words for the end, and its own.
        counts: What it calls the tokens read, and those written.
        streams: Whether the body has to say that a stream is wanted.
    """

    marks: tuple[str, ...]
    signs: frozenset[str]
    text: tuple[str, ...]
    stop: tuple[str, ...]
    names: Mapping[str, str]
    prompt: str = "prompt"
    inside: str = ""
    many: str = ""
    listed: bool = False
    words: Mapping[str, str] = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    streams: bool = False


MAKERS: tuple[Maker, ...] = (
    Maker(
        ("amazon.titan-text", "amazon.titan-tg1"), frozenset({"results", "outputText"}), ("outputText",), ("completionReason",),
        {"max_tokens": "maxTokenCount", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"},
        prompt="inputText", inside="textGenerationConfig", many="results",
        words={"stop": "FINISH", "length": "LENGTH", "content_filter": "CONTENT_FILTERED"}, counts=("inputTextTokenCount",),
    ),
    Maker(
        ("meta.llama",), frozenset({"generation"}), ("generation",), ("stop_reason",),
        {"max_tokens": "max_gen_len", "temperature": "temperature", "top_p": "top_p"},
        counts=("prompt_token_count", "generation_token_count"),
    ),
    Maker(
        ("cohere.command-text", "cohere.command-light"), frozenset({"generations", "is_finished"}), ("text",), ("finish_reason",),
        {
            "max_tokens": "max_tokens", "temperature": "temperature", "top_p": "p", "top_k": "k", "n": "num_generations",
            "stop": "stop_sequences",
        },
        many="generations", words={"stop": "COMPLETE", "length": "MAX_TOKENS", "content_filter": "ERROR_TOXIC"}, streams=True,
    ),
    Maker(
        # Newer ones have no more of them.
        ("anthropic.claude-v", "anthropic.claude-instant"), frozenset({"completion"}), ("completion",), ("stop_reason",),
        {
            "max_tokens": "max_tokens_to_sample", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
            "stop": "stop_sequences",
        },
        words={"stop": "stop_sequence", "length": "max_tokens"},
    ),
    Maker(
        ("ai21.j2",), frozenset({"completions"}), ("data", "text"), ("finishReason", "reason"),
        {
            "max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "n": "numResults",
            "stop": "stopSequences",
        },
        many="completions", words={"stop": "endoftext"},
    ),
    Maker(
        (
            "mistral.mistral-7b", "mistral.mixtral", "mistral.mistral-large-2402", "mistral.mistral-small-2402",
        ),
        frozenset({"outputs"}), ("text",), ("stop_reason",),
        {"max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "stop": "stop"},
        many="outputs", listed=True,
    ),
    Maker(
        # It answers as OpenAI does.
        ("deepseek.r1",), frozenset(), ("text",), ("stop_reason",),
        {"max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "stop": "stop"},
        many="choices", listed=True,
    ),
)  # fmt: skip

Words = Maker | str
"""Whose words: a maker's of completions, or one of the four of chats; empty if nobody can tell."""

WORDS: tuple[Words, ...] = (ANTHROPICS, CONVERSES, FIRSTS, OPENAIS, *MAKERS)


def of_model(model: str, verb: Verb = "chat") -> Words:
    """Whose words a model takes and gives, by its name."""
    maker = next((maker for maker in MAKERS if any(mark in model for mark in maker.marks)), None)
    if verb == "complete":
        return maker or ""
    if "claude" in model:  # those that continue texts chat as well
        return ANTHROPICS
    if maker is not None:
        return maker
    if "amazon.nova" in model:
        return CONVERSES
    if "cohere.command-r" in model:
        return FIRSTS
    return OPENAIS if model and ("." in model or not model.startswith("arn:")) else ""


def of_body(data: Json) -> Words:
    """Whose words a request has, by its keys."""
    if "prompt" in data or "inputText" in data:
        able = [maker for maker in MAKERS if maker.prompt in data]
        return max(able, key=lambda maker: _alike(maker, data))
    if "message" in data:
        return FIRSTS
    if "anthropic_version" in data:
        return ANTHROPICS
    return CONVERSES if _converses(data) else OPENAIS


def _alike(maker: Maker, data: Json) -> int:
    """How many of a request's parameters are called as its maker calls them."""
    return len(data.keys() & {maker.inside, *maker.names.values()})


def _converses(data: Json) -> bool:
    if data.keys() & {"inferenceConfig", "schemaVersion", "toolConfig"}:
        return True
    try:
        contents = [message["content"] for message in data["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return bool(parts) and not any("type" in part for part in parts)
    except MISSHAPEN:
        return False


def asked_in(model: str, data: Json) -> Words:
    """Whose words a request to a model has: the model's, unless its keys say otherwise."""
    asked = of_body(data)
    own = of_model(model, "complete" if isinstance(asked, Maker) else "chat")
    if isinstance(own, Maker) and isinstance(asked, Maker) and own.prompt == asked.prompt:
        return own if _alike(own, data) == _alike(asked, data) else asked
    return asked


def format_of(words: Words) -> str:
    """The name of a maker's format, as it is spoken here."""
    return f"bedrock_invoke {words.marks[0] if isinstance(words, Maker) else words}"


def of_request(request: Request) -> Words:
    """Whose words the answer to a request is expected in: those in which it was asked, else those of its model."""
    spoken = next((words for words in WORDS if request.spoken == format_of(words)), None)
    return spoken or of_model(request.model, request.verb) or OPENAIS


def of_answer(data: Json) -> Words:
    """Whose words an answer or an event has, by its keys."""
    if "choices" in data:
        return OPENAIS
    if "event_type" in data or ("text" in data and ("generation_id" in data or "chat_history" in data)):
        return FIRSTS
    if "type" in data:
        return ANTHROPICS
    if "output" in data or not KINDS.isdisjoint(data):
        return CONVERSES
    return next((maker for maker in MAKERS if not maker.signs.isdisjoint(data)), "")
