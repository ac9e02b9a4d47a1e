"""The words that whole answers, streams and requests of Google's Gemini share."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from ..types.response import ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .openai_words import call_id

__all__ = [
    "BLOCKED",
    "Json",
    "Parts",
    "citations_of",
    "finish_of",
    "finish_reason",
    "index_of",
    "json_object",
    "kept_parts",
    "logprobs_of",
    "signature_of",
    "usage_of",
    "write_citations",
    "write_logprobs",
    "write_usage",
]

Json = dict[str, Any]

BLOCKED = "SAFETY"
"""The word for an answer that never began because its prompt was blocked; why it was, stands in `promptFeedback`."""

_UNFINISHED = "FINISH_REASON_UNSPECIFIED"

FINISH: Mapping[str, str] = MappingProxyType(
    {
        "STOP": "stop",
        "MAX_TOKENS": "length",
        "SAFETY": "content_filter",
        "RECITATION": "content_filter",
        "BLOCKLIST": "content_filter",
        "PROHIBITED_CONTENT": "content_filter",
        "SPII": "content_filter",
        "IMAGE_SAFETY": "content_filter",
        "IMAGE_PROHIBITED_CONTENT": "content_filter",
        "IMAGE_RECITATION": "content_filter",
        "MODEL_ARMOR": "content_filter",
        "6": "content_filter",
        "7": "content_filter",
        "8": "content_filter",
        "9": "content_filter",
    }
)
"""
Google's words for the end; any other is `stop`. The Gemini API and Vertex AI number theirs differently from 6 on, and
what either calls 6 to 8 is a filter.
"""

NUMBERS = (_UNFINISHED, "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")
"""The reasons under the numbers on which both agree; a client may ask for numbers (`$alt=json;enum-encoding=int`)."""

_REASONS: Mapping[str | None, str] = MappingProxyType(
    {"length": "MAX_TOKENS", "content_filter": "SAFETY", "error": "OTHER"}
)

AUDIO, IMAGES = ("AUDIO", 4), ("IMAGE", 2)
"""Modalities, each as a word and as its number."""


def finish_of(reason: Any, called: bool) -> tuple[str | None, str | None]:
    """Why a candidate ended, in OpenAI's words and in Google's; None while it has not."""
    if not reason or reason == _UNFINISHED:
        return None, None
    if isinstance(reason, int):
        reason = NUMBERS[reason] if reason < len(NUMBERS) else str(reason)
    if called and reason == "STOP":
        return "tool_calls", reason
    return FINISH.get(reason, "stop"), reason


def finish_reason(finish: str | None, native: str | None, refusal: str | None) -> str:
    """Google's word for the end: its own where it is known, else the nearest."""
    if native is not None and native in FINISH and not native.isdecimal():
        return native
    return "SAFETY" if refusal else _REASONS.get(finish, "STOP")


def usage_of(counts: Json) -> Usage:
    """The counts as OpenAI counts: what tools brought was read, what was thought was written."""
    prompt, tools = _count(counts, "promptTokenCount"), _count(counts, "toolUsePromptTokenCount")
    said, thought = _count(counts, "candidatesTokenCount"), _count(counts, "thoughtsTokenCount")
    usage = Usage(
        None if prompt is None and tools is None else (prompt or 0) + (tools or 0),
        None if said is None and thought is None else (said or 0) + (thought or 0),
        _count(counts, "cachedContentTokenCount"),
        None,
        thought,
    )
    for details in counts.get("promptTokensDetails") or ():
        if details.get("modality") in AUDIO:
            usage.input_audio_tokens = _count(details, "tokenCount")
        elif details.get("modality") in IMAGES:
            usage.input_image_tokens = _count(details, "tokenCount")
    for details in counts.get("candidatesTokensDetails") or ():
        if details.get("modality") in AUDIO:
            usage.output_audio_tokens = _count(details, "tokenCount")
        elif details.get("modality") in IMAGES:
            usage.output_image_tokens = _count(details, "tokenCount")
    return usage


def _count(counts: Json, name: str) -> int | None:
    count = counts.get(name)
    return count if type(count) is int and count >= 0 else None


def index_of(candidate: Json, position: int) -> int:
    """Which candidate it is; the first is often told by nothing but its place."""
    index = candidate.get("index")
    return index if type(index) is int and index >= 0 else position


def write_usage(usage: Usage) -> Json:
    """The counts as Google counts; one that nobody knows is left out."""
    thought = usage.reasoning_tokens
    said = None if usage.output_tokens is None else max(0, usage.output_tokens - (thought or 0))
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": said,
        "totalTokenCount": usage.total_tokens,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "thoughtsTokenCount": thought,
    }
    out: Json = {name: count for name, count in counts.items() if count is not None}
    for name, audio, images in (
        ("promptTokensDetails", usage.input_audio_tokens, usage.input_image_tokens),
        ("candidatesTokensDetails", usage.output_audio_tokens, usage.output_image_tokens),
    ):
        known = {modality: count for modality, count in (("AUDIO", audio), ("IMAGE", images)) if count is not None}
        if known:
            out[name] = [{"modality": modality, "tokenCount": count} for modality, count in known.items()]
    return out


def citations_of(candidate: Json) -> list[str]:
    """The addresses that an answer rests on or quotes, each once."""
    sources: list[Json] = []
    for chunk in (candidate.get("groundingMetadata") or {}).get("groundingChunks") or ():
        sources += chunk.values()
    sources += (candidate.get("citationMetadata") or {}).get("citations") or ()
    urls = (source.get("uri") for source in sources if isinstance(source, dict))
    return list(dict.fromkeys(url for url in urls if url))


def write_citations(urls: list[str]) -> Json:
    """The sources of which nothing but the address is known."""
    return {"groundingChunks": [{"web": {"uri": url}} for url in urls]}


def logprobs_of(result: Json) -> Json:
    """`logprobsResult` as OpenAI writes it."""
    tops = result.get("topCandidates") or ()
    content = [_logprob(chosen) for chosen in result.get("chosenCandidates") or ()]
    for position, entry in enumerate(content):
        among = tops[position].get("candidates") or () if position < len(tops) else ()
        entry["top_logprobs"] = [_logprob(candidate) for candidate in among]
    return {"content": content}


def _logprob(candidate: Json) -> Json:
    return {"token": candidate.get("token", ""), "logprob": candidate.get("logProbability", 0.0), "bytes": None}


def write_logprobs(logprobs: Any) -> Json | None:
    """OpenAI's `logprobs` as Google writes them; None if they are something else."""
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not entries:
        return None
    return {
        "chosenCandidates": [_candidate(entry) for entry in entries],
        "topCandidates": [
            {"candidates": [_candidate(top) for top in entry.get("top_logprobs") or ()]} for entry in entries
        ],
    }


def _candidate(entry: Json) -> Json:
    return {"token": entry["token"], "logProbability": entry["logprob"]}


def json_object(arguments: Any) -> Json:
    """The arguments of a tool call as the object that Google wants; what is none is wrapped, so the model can see it."""
    if isinstance(arguments, dict):
        return arguments
    if not arguments or not arguments.strip():
        return {}
    try:
        parsed = loads(arguments)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"INVALID_JSON": arguments}


# --- what OpenAI has no words for -------------------------------------------------------------------------------------
#
# Google's own OpenAI endpoint puts it into `extra_content.google`: the signature of a call into the call. So do we,
# and put there, into the message, the parts of a turn that is more than a text and calls behind it.
# https://ai.google.dev/gemini-api/docs/thought-signatures (checked 2026-11-20)


def signature_of(extra: Any) -> str | None:
    """The thought signature that a tool call carries."""
    google = _google(extra)
    signature = google.get("thought_signature")
    return signature if isinstance(signature, str) else None


def kept_parts(message: Any) -> list[Json]:
    """The parts that a message brings along as Google wrote them."""
    parts = _google(message).get("parts")
    return parts if isinstance(parts, list) else []


def _google(holder: Any) -> Json:
    content = holder.get("extra_content") if isinstance(holder, dict) else None
    google = content.get("google") if isinstance(content, dict) else None
    return google if isinstance(google, dict) else {}


class Parts:
    """
    What the parts of one candidate say, in one go or as they come.

    Args:
        answer: Id of the answer, from which calls without an id get one.
        index: Which candidate of the answer it is.
    """

    __slots__ = ("_answer", "_calls", "_index", "_kept", "_odd", "_open")

    def __init__(self, answer: str, index: int) -> None:
        self._answer = answer
        self._index = index
        self._calls = 0
        self._kept: list[Json] = []
        self._odd = False  # whether they are more than a text and calls behind it
        self._open: Json | None = None  # the call whose arguments come in pieces

    @property
    def called(self) -> bool:
        """Whether a tool was called."""
        return self._calls > 0

    def read(self, parts: list[Json]) -> tuple[str, str, list[ToolCall]]:
        """Text, reasoning and tool calls of the next parts."""
        calls: list[ToolCall] = []
        if len(parts) == 1:  # nearly every event of a stream
            part = parts[0]
            if "functionCall" in part:
                self._call(part, calls)
                return "", "", calls
            if len(part) == 1 and part.get("text").__class__ is str and not self._calls:
                self._kept.append(part)
                return part["text"], "", calls
        text: list[str] = []
        reasoning: list[str] = []
        for part in parts:
            if "functionCall" in part:
                self._call(part, calls)
            elif part.get("text") is None:
                # Code that ran, searches, images: they happened at Google's, and go back as they came.
                self._odd = True
                self._kept.append(part)
            elif part.get("thought"):
                reasoning.append(part["text"])
                if "thoughtSignature" in part:
                    self._odd = True
                    self._kept.append(part)
            else:
                text.append(part["text"])
                if "thoughtSignature" in part or (self._calls and part["text"]):
                    self._odd = True
                self._kept.append(part)
        return "".join(text), "".join(reasoning), calls

    def extra(self) -> Json | None:
        """What the next turn wants back beside text and calls; told once, then what came since."""
        kept, self._kept = self._kept, []
        if not self._odd:
            return None
        merged: list[Json] = []
        for part in kept:
            plain = part.keys() == {"text"}
            if plain and merged and merged[-1].keys() == {"text"}:
                merged[-1] = {"text": merged[-1]["text"] + part["text"]}
            elif not plain or part["text"]:
                merged.append(part)
        return {"extra_content": {"google": {"parts": merged}}} if merged else None

    def _call(self, part: Json, calls: list[ToolCall]) -> None:
        call = part["functionCall"]
        if self._open is not None or call.get("willContinue"):
            whole = self._continued(part)
            if whole is None:
                return
            part = whole
            call = part["functionCall"]
        signature = part.get("thoughtSignature")
        calls.append(
            ToolCall(
                call.get("id") or call_id(self._answer, self._index, self._calls),
                call["name"],
                encode(call.get("args") or {}).decode(),
                self._calls,
                {"extra_content": {"google": {"thought_signature": signature}}} if signature else None,
            )
        )
        self._calls += 1
        self._kept.append(part)

    def _continued(self, part: Json) -> Json | None:
        """
        A call whose arguments come in pieces, as soon as it is whole.

        https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling (checked 2026-11-20)
        """
        call = part["functionCall"]
        if self._open is None:
            self._open = {**part, "functionCall": {"name": call["name"], "args": {}}}
        whole = self._open["functionCall"]
        if call.get("id"):
            whole["id"] = call["id"]
        if part.get("thoughtSignature"):
            self._open["thoughtSignature"] = part["thoughtSignature"]
        whole["args"] |= call.get("args") or {}
        for piece in call.get("partialArgs") or ():
            _put(whole["args"], piece)
        if call.get("willContinue"):
            return None
        done, self._open = self._open, None
        return done


def _put(args: Any, piece: Json) -> None:
    """Put a piece of an argument where its path says: `$.place.streets[0]`."""
    path = piece["jsonPath"].removeprefix("$").replace("[", ".").replace("]", "").strip(".")
    steps: list[Any] = [int(step) if step.isdecimal() else step.strip("'\"") for step in path.split(".")]
    for step, following in pairwise(steps):
        args = _at(args, step, [] if isinstance(following, int) else {})
    last = steps[-1]
    if "stringValue" in piece:
        value: Any = _at(args, last, "") + piece["stringValue"]
    else:
        value = next((piece[name] for name in ("numberValue", "boolValue") if name in piece), None)
    if isinstance(args, list):
        _at(args, last, None)
    args[last] = value


def _at(holder: Any, step: Any, otherwise: Any) -> Any:
    """What stands there; if nothing does, `otherwise` from now on."""
    if isinstance(holder, list):
        if step > len(holder):
            raise ValueError("a path skips an item")
        if step == len(holder):
            holder.append(otherwise)
        return holder[step]
    return holder.setdefault(step, otherwise)
