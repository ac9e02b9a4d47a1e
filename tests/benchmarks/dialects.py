"""
What the dialects cost: `python -m tests.benchmarks.dialects [--quick]`. No network, no gateway: bytes and plain values.

Three tables: a chat of forty messages translated from every format into every other, a whole answer read, and one event
of a stream read and written; each beside what the `json` of Python takes for the same. Every figure is the minimum of many short rounds
in which the contenders take turns: what a machine adds to a figure is never negative.
"""

from __future__ import annotations

import argparse
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Dialect, Quirks
from llmgate.types.request import Request
from llmgate.types.response import Choice, Chunk, Response, ToolCall
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

__all__ = [
    "EVENTS",
    "QUIRKS",
    "STREAMS",
    "answer_of",
    "answers",
    "asked",
    "chat",
    "dialects",
    "requests",
    "streams",
    "tables",
    "told",
    "translate",
]

Json = dict[str, Any]

NAMES = ("anthropic_messages", "bedrock", "cohere", "gemini", "ollama", "openai_chat", "openai_responses")
QUIRKS = Quirks()
MODELS = {
    "anthropic_messages": "claude-sonnet-4-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "gemini": "gemini-2.5-flash",
}
"""The model that each is asked for, where a dialect looks at its name."""

EVENTS = 500  # of a stream, as many as an answer of a page or two takes
PIECE_BYTES = 8 << 10  # bytes of a stream that arrive at once where a reader lags behind

IMAGE = "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 30).decode()  # about 10 KB
QUESTION = "Hello, I ordered two books last Tuesday, and only one of them has arrived so far. Where is the other? "
SAID = "The order was split into two parcels. The second left our warehouse on Thursday and should be with you soon. "
FOUND = {
    "order": "A-2291",
    "state": "in transit",
    "weight_g": 912,
    "events": [{"at": f"2026-11-1{day}T08:15:00Z", "place": "Köln", "what": "sorted"} for day in range(4)],
}


def tool(name: str, about: str, *, required: tuple[str, ...] = ("id",)) -> Json:
    properties: Json = {key: {"type": "string", "description": f"The {key} that was printed."} for key in required}
    properties["detail"] = {"type": "string", "enum": ["short", "full"], "description": "How much to tell."}
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


def chat() -> Json:
    """Forty messages as OpenAI's chat has them: eight calls of tools, one image, three tools and a schema."""
    messages: list[Json] = [{"role": "system", "content": "You are the assistant of an online bookshop. " * 12}]
    look = [
        {"type": "text", "text": "This is what it looked like."},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    for turn in range(7):
        messages.append({"role": "user", "content": look if turn == 3 else QUESTION * 2})
        calls = [
            {
                "id": f"call_{turn}_{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps({"id": f"A-229{turn}", "detail": "full"})},
            }
            for number, name in enumerate(("parcel_of", "order_of")[: 1 + (turn == 1)])
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": json.dumps(FOUND)} for call in calls]
        messages.append({"role": "assistant", "content": SAID * 4})
    while len(messages) < 40:
        user = len(messages) % 2 == 0
        messages.append({"role": "user", "content": QUESTION} if user else {"role": "assistant", "content": SAID * 3})
    schema = {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "description": "What to tell the customer."},
            "refund": {"type": "boolean"},
            "orders": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["answer", "refund", "orders"],
        "additionalProperties": False,
    }
    return {
        "model": "m",
        "messages": messages,
        "tools": [
            tool("parcel_of", "Where the parcel of an order is."),
            tool("order_of", "What was ordered, and when."),
            tool("refund", "Give the money back.", required=("id", "reason")),
        ],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
        "temperature": 0.2,
        "max_completion_tokens": 2048,
    }


@cache
def dialects() -> Mapping[str, Dialect]:
    return {name: dialect_named(name) for name in NAMES}


def requests() -> dict[str, Json]:
    """The same chat in every format, as it arrives: parsed JSON."""
    asked = dialects()["openai_chat"].read_request("chat", chat())
    return {
        name: json.loads(dialect.write_request(asked.to(MODELS.get(name, "m")), QUIRKS).body)
        for name, dialect in dialects().items()
    }


def translate(given: Dialect, wanted: Dialect, data: Json) -> bytes:
    request = given.read_request("chat", data)
    return wanted.write_request(request.to(MODELS.get(wanted.name, "m")), QUIRKS).body


def answer_of(calls: int = 2) -> Response:
    tool_calls = [ToolCall(f"call_{at}", "parcel_of", '{"id":"A-2291","detail":"full"}', at) for at in range(calls)]
    choice = Choice(text=SAID * 8, tool_calls=tool_calls, finish_reason="tool_calls" if calls else "stop")
    usage = Usage(input_tokens=243, output_tokens=197, cache_read_tokens=128, reasoning_tokens=12)
    return Response(id="answer-1", model="m", usage=usage, choices=[choice], created=1_763_683_200)


def answers() -> dict[str, bytes]:
    """The same whole answer in every format."""
    return {name: dumps(dialect.write_response(answer_of())) for name, dialect in dialects().items()}


def text_chunks() -> Iterable[Chunk]:
    for _ in range(EVENTS):
        yield chunk(text=" parcel")
    yield chunk(finish_reason="stop", usage=Usage(243, 97))


def call_chunks() -> Iterable[Chunk]:
    """Calls in ten pieces each."""
    for index in range(EVENTS // 10):
        yield chunk(tool_calls=(ToolCall(f"call_{index}", "parcel_of", "", index),))
        for arguments in ('{"id"', ':"', "A-", "22", "91", '",', '"detail":', '"full', '"}'):
            yield chunk(tool_calls=(ToolCall("", "", arguments, index),))
    yield chunk(finish_reason="tool_calls", usage=Usage(243, 97))


def chunk(**said: Any) -> Chunk:
    return Chunk(**said, id="answer-1", model="m", created=1_763_683_200)


STREAMS: Mapping[str, Callable[[], Iterable[Chunk]]] = {"text": text_chunks, "call": call_chunks}


def asked() -> Request:
    return Request("chat", "m", {"messages": []}, True, b'{"messages":[]}')


def gemini_call(at: int) -> Json:
    part = {"functionCall": {"id": f"call_{at}", "name": "parcel_of", "args": {"id": "A-2291", "detail": "full"}}}
    content = {"parts": [part], "role": "model"}
    counts = {"promptTokenCount": 243, "candidatesTokenCount": at, "totalTokenCount": 243 + at}
    said = {"candidates": [{"content": content, "index": 0}], "usageMetadata": counts}
    return said | {"modelVersion": "m", "responseId": "answer-1"}


def ollama_call(at: int) -> Json:
    call = {"id": f"call_{at}", "function": {"name": "parcel_of", "arguments": {"id": "A-2291", "detail": "full"}}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    return {"model": "m", "created_at": "2026-11-20T08:15:00.123456Z", "message": message, "done": False}


WHOLE_CALLS: Mapping[str, Callable[[int], bytes]] = {
    "gemini": lambda at: b"data: " + dumps(gemini_call(at)) + b"\r\n\r\n",
    "ollama": lambda at: dumps(ollama_call(at)) + b"\n",
}
"""Formats that know no pieces of a call: an event brings a whole one."""


def streams(kind: str) -> dict[str, list[bytes]]:
    """The same stream in every format, event by event, as its own writer writes it."""
    found: dict[str, list[bytes]] = {}
    for name, dialect in dialects().items():
        writer, chunks = dialect.writer(asked()), list(STREAMS[kind]())
        found[name] = []
        if kind == "call" and name in WHOLE_CALLS:
            found[name] = [WHOLE_CALLS[name](at) for at in range(EVENTS)]
            chunks = chunks[-1:]
        found[name] += [written for chunk in chunks if (written := writer.feed(chunk))]
        found[name].append(writer.end())
    return found


def told(dialect: Dialect, pieces: Iterable[bytes]) -> int:
    """Read a stream; how many chunks it had."""
    reader = dialect.reader(asked(), QUIRKS)
    count = 0
    for piece in pieces:
        count += len(reader.feed(piece))
    return count if reader.terminated else count + len(reader.end())


def payloads(name: str, events: list[bytes]) -> list[bytes]:
    """The JSON in the events, as a bare reader would have it."""
    if name == "bedrock":
        from llmgate.dialects.aws_frames import FrameParser

        return [payload for _, payload in FrameParser().feed(b"".join(events))]
    lines = b"".join(events).split(b"\n")
    found = [line.removeprefix(b"data: ") for line in lines if not line.startswith(b"event:")]
    return [line for line in found if line[:1] == b"{"]


def pieces_of(events: list[bytes]) -> list[bytes]:
    whole = b"".join(events)
    return [whole[at : at + PIECE_BYTES] for at in range(0, len(whole), PIECE_BYTES)]


Works = dict[Any, Callable[[], Any]]


def timed(works: Works, rounds: int, repeat: int) -> dict[Any, float]:
    """The least microseconds of the processor that each takes, in turns."""
    least = dict.fromkeys(works, float("inf"))
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            at = time.process_time()
            for _ in range(repeat):
                work()
            least[name] = min(least[name], (time.process_time() - at) / repeat * 1e6)
    return least


def translations(rounds: int) -> dict[tuple[str, str], float]:
    known = dialects()
    works: Works = {
        (given, wanted): partial(translate, known[given], known[wanted], data)
        for given, data in requests().items()
        for wanted in known
    }
    return timed(works, rounds, 10)


def readings(rounds: int) -> dict[str, tuple[float, float]]:
    """Microseconds of `json.loads` and of reading, of each format's whole answer."""
    request = asked()
    works: Works = {}
    for name, body in answers().items():
        works[name, "json"] = partial(json.loads, body)
        works[name, "read"] = partial(dialects()[name].read_response, request, body, QUIRKS)
    least = timed(works, rounds, 5)
    return {name: (least[name, "json"], least[name, "read"]) for name in dialects()}


def events(kind: str, rounds: int) -> dict[str, tuple[float, ...]]:
    """Microseconds an event: `json.loads` alone, read in large pieces, read event by event, and of a chunk: written."""
    works: Works = {}
    counts: dict[str, int] = {}
    chunks = list(STREAMS[kind]())
    for name, stream in streams(kind).items():
        data = payloads(name, stream)
        counts[name] = len(data)
        works[name, "json"] = partial(parse, data)
        works[name, "pieces"] = partial(told, dialects()[name], pieces_of(stream))
        works[name, "events"] = partial(told, dialects()[name], stream)
        works[name, "written"] = partial(written, dialects()[name], chunks)
    least = timed(works, rounds, 1)
    return {
        name: (
            *(least[name, what] / count for what in ("json", "pieces", "events")),
            least[name, "written"] / len(chunks),
        )
        for name, count in counts.items()
    }


def written(dialect: Dialect, chunks: Iterable[Chunk]) -> None:
    writer = dialect.writer(asked())
    for chunk in chunks:
        writer.feed(chunk)
    writer.end()


def parse(payloads: list[bytes]) -> None:
    for payload in payloads:
        json.loads(payload)


def tables(quick: bool) -> None:
    """Print all of it."""
    rounds = 20 if quick else 100
    names = list(dialects())
    found = translations(rounds)
    bare = timed({"json": partial(json.dumps, chat())}, rounds, 10)["json"]
    print(f"\n{'forty messages translated, µs':28}" + "".join(f"{name[:10]:>11}" for name in names))
    print(f"  {'json.dumps of them':26}{bare:11.1f}")
    for given in names:
        print(f"  {given:26}" + "".join(f"{found[given, wanted]:11.1f}" for wanted in names))
    print(f"\n{'whole answer, µs':28}{'json':>11}{'read':>11}{'added':>11}")
    for name, (bare, read) in readings(rounds).items():
        print(f"  {name:26}{bare:11.1f}{read:11.1f}{read - bare:11.1f}")
    for kind in STREAMS:
        title = f"event of a {kind} stream, µs"
        print(
            f"\n{title:28}" + "".join(f"{at:>11}" for at in ("json", "8 KiB", "one", "added", "added one", "written"))
        )
        for name, (bare, large, single, out) in events(kind, rounds).items():
            figures = (bare, large, single, large - bare, single - bare, out)
            print(f"  {name:26}" + "".join(f"{figure:11.2f}" for figure in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    tables(parser.parse_args().quick)


if __name__ == "__main__":
    main()
