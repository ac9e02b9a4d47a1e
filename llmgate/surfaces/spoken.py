"""What a request of somebody's SDK asks for, and in which wire format: its method and its path tell.

Anything may stand before the words that tell: `/v1`, `/openai/deployments/{model}`, a base path of somebody's own. What
is not in the table (uploads, files, batches, whatever comes next year) is a `request`, which passes through unread.

Sources, checked 2026-11-21: the paths in the packages openai 3.52, anthropic 2.11, google-genai 3.4, cohere 7.3, ollama
0.6, mistralai 3.7 and groq 1.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from ..types.request import Verb

__all__ = ["FORMS", "Form", "Spoken", "spoken"]


class Form(NamedTuple):
    """
    One thing that can be asked for.

    Attributes:
        dialect: Name of the wire format.
        verb: What is asked for.
        tail: The end of the path, which the dialect writes by itself; what stands before it is the base path.
        streams: Whether the path says that the answer comes in pieces; where it does not, the body may.
    """

    dialect: str
    verb: Verb
    tail: str
    streams: bool = False


FORMS: Mapping[str, Form | None] = MappingProxyType(
    {
        "POST chat/completions": Form("openai_chat", "chat", "/chat/completions"),
        "POST completions": Form("openai_chat", "complete", "/completions"),
        # Mistral's: a prompt with a hole in it, and agents; their answers are chats all the same.
        "POST fim/completions": None,
        "POST agents/completions": None,
        "POST embeddings": Form("openai_chat", "embed", "/embeddings"),
        "POST images/generations": Form("openai_chat", "image", "/images/generations"),
        "POST images/edits": Form("openai_chat", "image", "/images/edits"),
        "POST moderations": Form("openai_chat", "moderate", "/moderations"),
        "POST chat/moderations": None,
        "POST audio/speech": Form("openai_chat", "speak", "/audio/speech"),
        "POST audio/transcriptions": Form("openai_chat", "transcribe", "/audio/transcriptions"),
        "GET models": Form("openai_chat", "models", "/models"),
        "POST responses": Form("openai_responses", "chat", "/responses"),
        "POST responses/input_tokens": Form("openai_responses", "count_tokens", "/responses/input_tokens"),
        "POST v1/messages": Form("anthropic_messages", "chat", "/messages"),
        "POST messages/count_tokens": Form("anthropic_messages", "count_tokens", "/messages/count_tokens"),
        "POST :generateContent": Form("gemini", "chat", ":generateContent"),
        "POST :streamGenerateContent": Form("gemini", "chat", ":streamGenerateContent", True),
        "POST :embedContent": Form("gemini", "embed", ":embedContent"),
        "POST :batchEmbedContents": Form("gemini", "embed", ":batchEmbedContents"),
        "POST :countTokens": Form("gemini", "count_tokens", ":countTokens"),
        "GET v1beta/models": Form("gemini", "models", "/models"),
        "POST v1beta/interactions": Form("gemini_interactions", "chat", "/interactions"),
        "POST :rawPredict": Form("anthropic_vertex", "chat", ":rawPredict"),
        "POST :streamRawPredict": Form("anthropic_vertex", "chat", ":streamRawPredict", True),
        "POST v2/chat": Form("cohere", "chat", "/v2/chat"),
        "POST v2/embed": Form("cohere", "embed", "/v2/embed"),
        "POST v2/rerank": Form("cohere", "rerank", "/v2/rerank"),
        "POST api/chat": Form("ollama", "chat", "/api/chat"),
        "POST api/generate": Form("ollama", "complete", "/api/generate"),
        "POST api/embed": Form("ollama", "embed", "/api/embed"),
        "GET api/tags": Form("ollama", "models", "/api/tags"),
    }
)
"""
By the method and the last word or two of the path; two words tell more than one. None: it looks like something above,
and is something else.
"""


@dataclass(frozen=True, slots=True)
class Spoken:
    """
    What a request means.

    Attributes:
        base: The path before it, which is the client's own base path.
        model: The model, where the path names it.
        streams: Whether the path says that the answer comes in pieces.
    """

    dialect: str
    verb: Verb
    base: str = ""
    model: str = ""
    streams: bool = False


def spoken(method: str, path: str, query: str, headers: Mapping[bytes, bytes]) -> Spoken:
    """
    What a request means.

    Args:
        headers: Names in lower case.
    """
    head, _, last = path.rpartition("/")
    action = last.rpartition(":")[2] if ":" in last else ""
    form = (
        FORMS.get(f"{method} :{action}")
        if action
        else FORMS.get(f"{method} {head.rpartition('/')[2]}/{last}", FORMS.get(f"{method} {last}"))
    )
    if form is None:
        return Spoken(_tongue(path, headers), "request")
    base = path.removesuffix(form.tail)
    if action:
        base, model = _apart(base)
        if model and _is_known(form, base, query):
            verb: Verb = "count_tokens" if model == COUNTER and form.dialect == "anthropic_vertex" else form.verb
            return Spoken(form.dialect, verb, base, "" if model == COUNTER else model, form.streams)
        return Spoken("gemini", "request")
    if form.verb == "models" and b"anthropic-version" in headers:
        return Spoken("anthropic_messages", "models", base)
    _, deployed, model = base.rpartition("/deployments/")  # as Azure writes it
    return Spoken(form.dialect, form.verb, base, unquote(model) if deployed and "/" not in model else "")


COUNTER = "count-tokens"
"""What stands in the place of Claude on Vertex AI where tokens are to be counted; the model is told in the body."""


def _is_known(form: Form, base: str, query: str) -> bool:
    if form.dialect == "anthropic_vertex":
        return base.endswith("/publishers/anthropic")  # other makers' bodies are their own
    # Without this Google streams one long JSON array, which only passes through.
    return not form.streams or "alt=sse" in query.split("&")


def _apart(path: str) -> tuple[str, str]:
    """Base path and model of one of Google's paths."""
    base, found, model = path.partition("/models/")
    if found:
        return base, unquote(model)
    base, found, model = path.rpartition("/tunedModels/")
    return base, f"tunedModels/{unquote(model)}" if found else ""


def _tongue(path: str, headers: Mapping[bytes, bytes]) -> str:
    """The format of a request that is in no table, which matters for errors alone."""
    if b"anthropic-version" in headers:
        return "anthropic_messages"
    if b"x-goog-api-key" in headers or "/v1beta/" in path:
        return "gemini"
    if path.startswith("/api/"):
        return "ollama"
    return "cohere" if path.startswith("/v2/") else "openai_chat"
