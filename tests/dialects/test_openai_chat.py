"""OpenAI's chat: the traps that services of this format set, and the format as a server writes it."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.dialects import DIALECTS, dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.openai_chat import OpenAIChat
from llmgate.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    ConfigError,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
    LimitReached,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
)
from llmgate.types.request import Request
from llmgate.types.response import (
    Choice,
    Chunk,
    Embeddings,
    Model,
    Models,
    RawResponse,
    Response,
    ToolCall,
    Value,
    explode,
    fold,
)
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

DIALECT = OpenAIChat()
CHAT = Request("chat", "m", {"messages": []})
STREAM = Request("chat", "m", {"messages": []}, stream=True)


def record(id: str) -> dict[str, Any]:
    """A recording by its id; the test is skipped where the recordings are not."""
    corpus = Path(__file__).parents[3] / "shared" / "corpus"
    for path in sorted(corpus.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            if id in line[:200] and json.loads(line)["id"] == id:
                found: dict[str, Any] = json.loads(line)
                return found
    pytest.skip("the recordings are not here")


def read(body: Any, request: Request = CHAT, quirks: Quirks | None = None) -> Any:
    data = body if isinstance(body, bytes) else dumps(body)
    return DIALECT.read_response(request, data, quirks or Quirks())


def answer(message: dict[str, Any], usage: Any = None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}],
        "usage": usage,
    } | more


def event(
    delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {"id": "a", "model": "m", "choices": choices} | more


def wire(*events: Any, done: bool = True) -> bytes:
    body = b"".join(b"data: " + (item if isinstance(item, bytes) else dumps(item)) + b"\n\n" for item in events)
    return body + (b"data: [DONE]\n\n" if done else b"")


def chunks(body: bytes, quirks: Quirks | None = None, request: Request = STREAM) -> list[Chunk]:
    reader = DIALECT.reader(request, quirks or Quirks())
    return reader.feed(body) + reader.end()


def folded(*events: Any, **options: Any) -> Response:
    found = fold(chunks(wire(*events), **options))
    assert isinstance(found, Response)
    return found


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(pieces)}


def call(index: int | None = None, id: str | None = None, name: str | None = None, arguments: str | None = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece: dict[str, Any] = {"function": function}
    if index is not None:
        piece["index"] = index
    if id is not None:
        piece["id"] = id
    return piece


# Finding it.


def test_dialects_are_found_by_name():
    """
    Every registered name brings a dialect of that name, and an unknown one says which are known.
    """
    assert [*DIALECTS] == [dialect_named(name).name for name in DIALECTS]
    with pytest.raises(ConfigError, match=", ".join(DIALECTS)):
        dialect_named("openai")


# Requests out.


def test_the_encoded_body_is_spliced_and_not_encoded_again():
    """
    What was encoded when the request was accepted goes out byte by byte, with model and stream in front.
    """
    encoded = b'{"messages":[{"role":"user","content":"\xc3\xa9"}],"temperature":1e0}'
    request = Request("chat", 'a"b', json.loads(encoded), encoded=encoded)

    assert b'{"model":"a\\"b",' + encoded[1:] == DIALECT.write_request(request, Quirks()).body
    streamed = DIALECT.write_request(Request("chat", "m", request.body, True, encoded), Quirks()).body
    assert b'{"model":"m","stream":true,"stream_options":{"include_usage":true},' + encoded[1:] == streamed


@pytest.mark.parametrize(
    ("verb", "path"),
    [("chat", "/chat/completions"), ("complete", "/completions"), ("embed", "/embeddings")],
)
def test_every_verb_has_its_path(verb, path):
    """
    A body goes by POST to the verb's path, or to the one of the upstream's row, with the model in it where it says so.
    """
    request = Request(verb, "a/b", {"x": 1})
    written = DIALECT.write_request(request, Quirks())
    elsewhere = DIALECT.write_request(request, Quirks(paths={verb: "/deployments/{model}/x"}))

    assert ("POST", path, {"model": "a/b", "x": 1}) == (written.method, written.path, json.loads(written.body))
    assert "/deployments/a%2Fb/x" == elsewhere.path


def test_models_and_other_requests_go_out_as_they_are():
    """
    A list of models is a GET without a body; whatever else is asked keeps its method, path and bytes.
    """
    models = DIALECT.write_request(Request("models"), Quirks())
    other = DIALECT.write_request(
        Request("request", "m", {"a": 1}, encoded=b'{"a": 1}', method="PUT", path="/x"), Quirks()
    )

    assert ("GET", "/models", b"") == (models.method, models.path, models.body)
    assert ("PUT", "/x", b'{"a": 1}') == (other.method, other.path, other.body)


def test_a_body_without_parameters_or_model_is_still_json():
    """
    Empty bodies and empty names leave no stray comma.
    """
    for model in ("", "m"):
        for stream in (False, True):
            for encoded in (b"", b"{}"):
                request = Request("chat", model, {}, stream, encoded)
                written = json.loads(DIALECT.write_request(request, Quirks(stream_usage=False)).body)

                assert ({"model": "m"} if model else {}) | ({"stream": True} if stream else {}) == written


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [
        (Quirks(), {"max_tokens": 5, "top_k": 1, "logit_bias": {}}),
        (Quirks(max_tokens="max_completion_tokens"), {"max_completion_tokens": 5, "top_k": 1, "logit_bias": {}}),
        (Quirks(max_tokens="max_tokens"), {"max_tokens": 5, "top_k": 1, "logit_bias": {}}),
        (Quirks(rename={"top_k": "k"}), {"max_tokens": 5, "k": 1, "logit_bias": {}}),
        (Quirks(drop=frozenset({"logit_bias", "n"})), {"max_tokens": 5, "top_k": 1}),
    ],
)
def test_quirks_bend_the_body(quirks, expected):
    """
    The limit of the output takes the one name the upstream knows, keys are renamed and dropped, and the caller's
    own body stays as it was.
    """
    body = {"max_tokens": 5, "top_k": 1, "logit_bias": {}}
    request = Request("chat", "m", body, encoded=dumps(body))

    assert {"model": "m"} | expected == json.loads(DIALECT.write_request(request, quirks).body)
    assert {"max_tokens": 5, "top_k": 1, "logit_bias": {}} == body


def test_of_two_limits_the_one_the_upstream_knows_counts():
    """
    Who gives both names of the limit gets the one that is understood.
    """
    body = {"max_tokens": 5, "max_completion_tokens": 7}
    written = DIALECT.write_request(Request("chat", "m", body), Quirks(max_tokens="max_tokens")).body

    assert {"model": "m", "max_tokens": 5} == json.loads(written)


@pytest.mark.parametrize(
    ("options", "stream_usage", "expected"),
    [
        (None, True, {"include_usage": True}),
        ({"include_usage": True}, True, {"include_usage": True}),
        ({"include_usage": False}, True, {"include_usage": False}),
        ({"x": 1}, True, {"x": 1, "include_usage": True}),
        (None, False, None),
        ({"include_usage": True}, False, None),
    ],
)
def test_a_stream_is_asked_for_its_usage(options, stream_usage, expected):
    """
    Limits and budgets need the usage, so it is asked for unless the caller refused it or the upstream would.
    """
    body = {} if options is None else {"stream_options": options}
    request = Request("chat", "m", body, True, dumps(body))
    written = json.loads(DIALECT.write_request(request, Quirks(stream_usage=stream_usage)).body)

    assert expected == written.get("stream_options")
    assert written["stream"] is True


def test_a_body_that_is_no_json_is_a_bad_request():
    """
    What JSON does not have is refused before anything is sent.
    """
    for body in ({"temperature": float("nan")}, {"messages": {1, 2}}):
        with pytest.raises(BadRequest):
            DIALECT.write_request(Request("chat", "m", body), Quirks())


# Answers in.


def test_reads_a_whole_answer():
    """
    Text, ids, counts and the model are where OpenAI puts them.
    """
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 7,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 3},
    }
    found = read(answer({"content": "hi", "refusal": None, "annotations": []}, usage, created=5, id="x"))

    expected = Response(
        id="x",
        model="m",
        usage=Usage(9, 7, 4, None, 2, 1, 3),
        choices=[Choice(text="hi", finish_reason="stop")],
        raw=found.raw,
    )
    assert expected == found
    assert 5 == found.created


def test_no_usage_is_none_and_not_zero():
    """
    A count that was not sent is None, whatever else was.
    """
    assert Usage() == read(answer({"content": ""})).usage
    assert Usage(3) == read(answer({"content": ""}, {"prompt_tokens": 3, "completion_tokens": None})).usage
    assert Usage(0, 0) == read(answer({"content": ""}, {"prompt_tokens": 0, "completion_tokens": 0})).usage
    twice = {"prompt_tokens_details": {"cached_tokens": 4}, "prompt_cache_hit_tokens": 9}
    assert Usage(cache_read_tokens=4) == read(answer({"content": ""}, twice)).usage
    nonsense = {"prompt_tokens": -1, "completion_tokens": "7", "prompt_tokens_details": {"cached_tokens": True}}
    assert Usage() == read(answer({"content": ""}, nonsense)).usage


def test_reasoning_that_the_completion_does_not_count_is_added():
    """
    The total says whether it is counted; without a total the upstream's row does. Cached may exceed the prompt.
    """
    details = {"completion_tokens_details": {"reasoning_tokens": 20}, "prompt_tokens_details": {"cached_tokens": 99}}
    counts = {"prompt_tokens": 10, "completion_tokens": 5} | details
    apart = Quirks(reasoning_in_output=False)

    def output(total: int | None, quirks: Quirks) -> int | None:
        found: int | None = read(answer({}, counts | {"total_tokens": total}), quirks=quirks).usage.output_tokens
        return found

    assert [25, 25] == [output(35, Quirks()), output(35, apart)]
    assert [5, 5] == [output(15, Quirks()), output(15, apart)]
    assert [5, 25] == [output(None, Quirks()), output(None, apart)]
    assert 99 == read(answer({}, counts)).usage.cache_read_tokens


@pytest.mark.parametrize(
    ("usage", "beside", "cost"),
    [
        ({"cost": 0.00007159}, {}, "0.00007159"),
        ({"cost": 0}, {}, "0"),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, {}, "0.21"),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.01}}, {}, "0.01"),
        ({"cost": {"total_cost": 0.006, "request_cost": 0.005}}, {}, "0.006"),
        ({"cost_in_usd_ticks": 37756000}, {}, "0.0037756"),
        ({}, {"cost": {"usd": 0.5, "diem": 0}}, "0.5"),
        ({"cost": "free"}, {}, None),
        ({"cost": -1}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_price_an_upstream_names_is_read(usage, beside, cost):
    """
    US dollars, exactly as sent, under each of the names that services give them.
    """
    found = read(answer({"content": ""}, {"prompt_tokens": 1} | usage, **beside)).usage.cost

    assert (None if cost is None else Decimal(cost)) == found


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"content": "t", "reasoning_content": "r"}, "r"),
        ({"content": "t", "reasoning": "r"}, "r"),
        ({"content": "t", "reasoning": "r", "reasoning_content": "r"}, "r"),
        ({"reasoning": "r", "reasoning_content": None, "content": "t"}, "r"),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "r"}]},
                    {"type": "text", "text": "t"},
                ]
            },
            "r",
        ),
        ({"content": [{"type": "thinking", "thinking": "r"}, {"type": "reference", "reference_ids": [1]}, "t"]}, "r"),
        ({"content": "t", "reasoning": {"effort": "low"}}, ""),
    ],
)
def test_reasoning_is_found_under_every_name(message, reasoning):
    """
    Reasoning comes under two names or as parts of the content, and is never doubled and never text.
    """
    whole = read(answer(message))
    streamed = folded(event(message), event({}, "stop"))

    assert ("t", reasoning) == (whole.text, whole.reasoning)
    assert ("t", reasoning) == (streamed.text, streamed.reasoning)


def test_tool_calls_are_read_with_and_without_ids():
    """
    Arguments may be text, an object or nothing; a call without an id gets one, the same each time.
    """
    message = calls(
        {"id": "x", "type": "function", "function": {"name": "a", "arguments": '{"p": 1}'}},
        {"type": "function", "function": {"name": "b", "arguments": {"p": 2}}, "extra_content": {"google": 1}},
        {"id": "", "function": {"name": "c", "arguments": ""}},
        {"id": "y", "type": "custom", "custom": {"name": "d", "input": "free text"}},
    )
    first, second, third, fourth = read(answer(message, finish="tool_calls")).tool_calls

    assert [{"p": 1}, {"p": 2}, {}] == [first.parsed(), second.parsed(), third.parsed()]
    assert ["a", "b", "c", "d"] == [first.name, second.name, third.name, fourth.name]
    assert 4 == len({first.id, second.id, third.id, fourth.id}) and second.id.startswith("call_")
    assert second.id == read(answer(message)).tool_calls[1].id
    assert {"google": 1} == second.to_openai()["extra_content"]
    assert {"id": "y", "type": "custom", "custom": {"name": "d", "input": "free text"}} == fourth.to_openai()


def test_a_legacy_function_call_is_a_tool_call_and_keeps_its_finish():
    """
    `function_call` is told as a tool call; the finish reason stays the old word.
    """
    message = {"content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
    whole = read(answer(message, finish="function_call"))
    streamed = folded(
        event({"function_call": {"name": "f", "arguments": ""}}),
        event({"function_call": {"arguments": '{"a"'}}),
        event({"function_call": {"arguments": ":1}"}}, "function_call"),
    )

    for found in (whole, streamed):
        assert [("f", {"a": 1})] == [(call.name, call.parsed()) for call in found.tool_calls]
        assert "function_call" == found.finish_reason
        assert found.tool_calls[0].id


@pytest.mark.parametrize(
    ("sent", "finish", "native"),
    [
        ({"finish_reason": "stop"}, "stop", None),
        ({"finish_reason": "eos"}, "stop", "eos"),
        ({"finish_reason": "model_length"}, "length", "model_length"),
        ({"finish_reason": "insufficient_system_resource"}, "error", "insufficient_system_resource"),
        ({"finish_reason": "stop", "native_finish_reason": "end_turn"}, "stop", "end_turn"),
        ({"finish_reason": "stop", "native_finish_reason": "stop"}, "stop", None),
        ({"finish_reason": "never heard"}, "never heard", None),
        ({"finish_reason": None}, None, None),
        ({"finish_reason": ""}, None, None),
    ],
)
def test_finish_reasons_are_told_in_openais_words(sent, finish, native):
    """
    Each service's word becomes OpenAI's, its own is kept, and none stays none.
    """
    body = answer({"content": "t"})
    body["choices"][0] |= sent
    streamed = event({"content": "t"})
    streamed["choices"][0] |= sent

    for choice in (read(body).choices[0], folded(streamed).choices[0]):
        assert (finish, native) == (choice.finish_reason, choice.native_finish_reason)


def test_citations_come_from_the_answer_or_its_annotations():
    """
    Addresses stand at the top, or in annotations of the message; files are no citations.
    """
    note = {"type": "url_citation", "url_citation": {"url": "https://b", "title": "B"}}
    file = {"type": "file", "file": {"hash": "h"}}
    top = answer({"content": "t", "annotations": [note]}, citations=["https://a", {"url": "https://c"}])

    assert ["https://a", "https://c"] == read(top).citations
    assert ["https://b"] == read(answer({"content": "t", "annotations": [file, note]})).citations
    assert [file, note] == read(answer({"content": "t", "annotations": [file, note]})).message["annotations"]
    assert ["https://b"] == folded(event({"annotations": [note]}), event({}, "stop")).citations
    cumulative = [
        event({"content": "x"}, citations=["https://a"]),
        event({}, "stop", citations=["https://a", "https://b"]),
    ]
    assert ["https://a", "https://b"] == folded(*cumulative).citations
    late = [event({"content": "x"}, "stop"), event(citations=["https://a"], usage={"prompt_tokens": 1})]
    assert ["https://a"] == folded(*late).citations


def test_keeps_what_the_next_turn_needs():
    """
    Signed reasoning, audio ids and thought signatures stand in the message that is sent back.
    """
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    message = {"content": "t", "reasoning_details": details, "audio": {"id": "a"}, "padding": "abc", "annotations": []}
    parts = [event({"reasoning_details": [{"index": n}]}) for n in range(2)]

    assert {"role": "assistant", "content": "t", "reasoning_details": details, "audio": {"id": "a"}} == read(
        answer(message)
    ).message
    assert {"reasoning_details": [{"index": 0}, {"index": 1}]} == folded(*parts, event({}, "stop")).choices[0].extra


def test_a_refusal_is_no_text():
    """
    A refusal stands apart from the text, whole and in pieces.
    """
    whole = read(answer({"content": None, "refusal": "no."}))
    streamed = folded(event({"refusal": "n"}), event({"refusal": "o."}), event({}, "stop"))

    assert ("", "no.") == (whole.text, whole.refusal) == (streamed.text, streamed.refusal)


def test_logprobs_are_kept_as_they_came():
    """
    Logprobs stay JSON; in a stream their lists are joined.
    """
    tokens = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}]
    body = answer({"content": "ab"})
    body["choices"][0]["logprobs"] = {"content": tokens, "refusal": None}
    parts = [event({"content": token["token"]}) for token in tokens]
    for part, token in zip(parts, tokens, strict=True):
        part["choices"][0]["logprobs"] = {"content": [token], "refusal": None}

    assert {"content": tokens, "refusal": None} == read(body).choices[0].logprobs
    assert tokens == folded(*parts, event({}, "stop")).choices[0].logprobs["content"]


def test_several_choices_stay_apart():
    """
    Choices are told apart by index, also where a stream interleaves them or says two in one event.
    """
    body = answer({"content": "a"})
    body["choices"].append({"index": 1, "message": {"content": "b"}, "finish_reason": "length"})
    both = event({"content": "1"})
    both["choices"].append({"index": 1, "delta": {"content": "2"}, "finish_reason": None})
    streamed = [
        both,
        event({"content": "y"}, index=1),
        event({"content": "x"}),
        event({}, "length", 1),
        event({}, "stop"),
    ]
    found = chunks(wire(*streamed))

    assert ["a", "b"] == [choice.text for choice in read(body).choices]
    assert [("1x", "stop"), ("2y", "length")] == [(c.text, c.finish_reason) for c in folded(*streamed).choices]
    assert found[0].raw is found[1].raw


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Bad gateway sk-abcdefghijklmnop</body></html>" + b"x" * 9000,
        b"",
        b"not json",
        b'"text"',
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": "x"}',
        b'{"choices": [{"message": {"content": "t", "tool_calls": [{}]}}]}',
        b'{"object": "chat.completion"}',
        b'{"choices": [{"message": {"content": NaN}}]}',
    ],
)
def test_what_is_no_answer_is_a_protocol_error(body):
    """
    A page, nothing, or JSON of another shape is told with at most 200 characters and without keys.
    """
    with pytest.raises(ProtocolError) as raised:
        read(body)

    assert len(raised.value.message) < 250
    assert "sk-abc" not in raised.value.message


def test_broken_characters_do_not_break_an_answer():
    """
    Invalid UTF-8 and lone surrogates become U+FFFD; separators of lines stay text.
    """
    body = dumps(answer({"content": "@ \u2028\u0085"})).replace(b"@", b"\xff\\ud800")

    assert "\ufffd\ufffd \u2028\u0085" == read(body).text.replace("?", "\ufffd")
    assert " \u2028\u0085" in folded(dumps(event({"content": "@ \u2028\u0085"}, "stop")).replace(b"@", b"\xff")).text


def test_an_error_in_a_successful_answer_is_an_error():
    """
    A body that says error is one, whatever the status was, and is classified by what it says.
    """
    with pytest.raises(RateLimited):
        read({"error": {"code": 429, "message": "Provider returned error"}, "user_id": "u"})
    with pytest.raises(Overloaded):
        read({"error": {"code": "server_is_overloaded", "message": "busy"}, "choices": []})
    with pytest.raises(UpstreamError):
        read(answer({"content": "t"}) | {"error": {"message": "boom"}})
    with pytest.raises(BadRequest):
        read({"object": "error", "message": "max_tokens must be at least 1", "type": "BadRequestError", "code": 400})
    with pytest.raises(UpstreamError):
        broken = answer({"content": "t"}, finish="error")
        broken["choices"][0]["error"] = {"code": 502, "message": "upstream died"}
        read(broken)
    assert "t" == read(answer({"content": "t"}) | {"error": None}).text


def test_embeddings_are_numbers_in_the_order_of_the_inputs():
    """
    Vectors come as numbers or as base64 of 32-bit floats, in any order.
    """
    packed = base64.b64encode(pack("<2f", 0.5, -2.0)).decode()
    body = {
        "data": [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [1.0, 2.0]}],
        "model": "e",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    found = read(body, Request("embed", "e", {"input": ["a", "b"]}))

    assert [[1.0, 2.0], [0.5, -2.0]] == found.vectors
    assert Usage(4) == found.usage
    with pytest.raises(ProtocolError):
        read({"data": [{"embedding": "*"}]}, Request("embed", "e"))


def test_models_are_listed_with_their_windows():
    """
    The list may stand bare or under `data`; the context window is found under each of its names.
    """
    items = [
        {"id": "a", "created": 1, "owned_by": "x", "context_window": 8},
        {"id": "b", "context_length": 16},
        {"id": "c", "max_context_length": 32},
        {"id": "d", "max_model_len": 64},
        {"id": "e"},
    ]
    expected = [8, 16, 32, 64, None]

    for body in ({"object": "list", "data": items}, items):
        found = read(body, Request("models"))
        assert expected == [model.context_window for model in found]
        assert [1, None, None, None, None] == [model.created for model in found]


def test_other_answers_are_left_unread():
    """
    What a passed-through request brings back are its bytes.
    """
    assert b"\x00png" == read(b"\x00png", Request("request", path="/images")).content


# Streams in.


def test_the_usage_after_the_finish_is_read():
    """
    The last event may hold the usage and no choice; its chunk belongs to no choice.
    """
    found = chunks(wire(event({"content": "a"}), event({}, "stop"), event(usage={"prompt_tokens": 3})))

    assert (-1, Usage(3)) == (found[-1].index, found[-1].usage)
    assert Usage(3) == fold(found).usage


@pytest.mark.parametrize(
    "events",
    [
        [event({}, "stop"), event(x_groq={"id": "g", "usage": {"prompt_tokens": 3}}, usage=None)],
        [event({"content": "a"}, usage={"prompt_tokens": 1}), event({}, "stop", usage={"prompt_tokens": 3})],
        [event({}, "stop"), event({"content": ""}, usage={"prompt_tokens": 3})],
        [event({}, "stop", x_groq={"usage": {"prompt_tokens": 3}}), event(usage={"prompt_tokens": 3})],
    ],
)
def test_usage_is_found_wherever_it_comes(events):
    """
    In a field of its own, in every event, after the finish beside a choice, or twice: it counts once.
    """
    assert Usage(3) == folded(*events).usage


def test_a_stream_without_usage_has_none():
    """
    No usage in the stream is no usage in the answer.
    """
    assert Usage() == folded(event({"content": "a"}, usage=None), event({}, "stop", x_groq={"id": "g"})).usage


def test_a_finish_of_every_choice_proves_the_end():
    """
    Without [DONE], the stream is whole when every choice that spoke has finished, and only then.
    """
    whole = wire(
        event({"content": "a"}), event({"content": "b"}, index=1), event({}, "stop"), event({}, "stop", 1), done=False
    )
    after = wire(event({"content": "a"}, "stop"), event({"content": ""}, usage={"prompt_tokens": 1}), done=False)
    half = wire(event({"content": "a"}), event({"content": "b"}, index=1), event({}, "stop"), done=False)
    reader = DIALECT.reader(STREAM, Quirks())
    reader.feed(whole)

    assert not reader.terminated
    reader.end()
    assert reader.terminated
    assert "a" == fold(chunks(after)).text  # type: ignore[attr-defined]
    for broken in (half, b"", b": ping\n\n", wire(event(usage={"prompt_tokens": 1}), done=False)):
        with pytest.raises(StreamInterrupted):
            chunks(broken)


def test_a_stream_cut_inside_an_event_is_interrupted():
    """
    Half an event at the end is a broken stream, not broken JSON; a missing blank line is forgiven.
    """
    body = wire(event({"content": "a"}), event({}, "stop"), done=False)

    assert "a" == fold(chunks(body[:-2])).text  # type: ignore[attr-defined]
    for cut in (3, 10, 30):
        with pytest.raises(StreamInterrupted):
            chunks(body[:-cut])
    with pytest.raises(StreamInterrupted):
        chunks(body + b"data: [DO")


def test_nothing_is_read_behind_the_last_word():
    """
    After [DONE] the reader is done, whatever follows, in the same read or later.
    """
    reader = DIALECT.reader(STREAM, Quirks())
    found = reader.feed(wire(event({"content": "a"})) + b"data: garbage\n\n")

    assert reader.terminated
    assert ["a"] == [chunk.text for chunk in found]
    assert [] == reader.feed(wire(event({"content": "b"}))) == reader.end()


def test_comments_and_empty_events_are_ignored():
    """
    Keep-alives bring no chunk; an event that says nothing of a choice brings one without content.
    """
    body = b": OPENROUTER PROCESSING\n\n\r\n: keepalive\n\ndata:\n\n" + wire(
        {"prompt_filter_results": [], "choices": []}, event({"role": "assistant"}), event({"content": "a"}, "stop")
    )
    found = chunks(body)

    assert [(-1, False), (0, False), (0, True)] == [(chunk.index, chunk.has_content) for chunk in found]


@pytest.mark.parametrize(
    "body",
    [b"data: {\n\n", b"data: nonsense\n\n", b"data: 7\n\n", b'data: ["a"]\n\n', b'data: {"choices":[{"delta":7}]}\n\n',
     b'data: {"choices":[{"delta":{"tool_calls":7}}]}\n\n', b'data: {"choices":[{"finish_reason":{"a":1}}]}\n\n',
     b'data: {"choices":[],"usage":7}\n\n', b"event: x\ndata: " + b"y" * 2**20 + b"\n\n"],
)  # fmt: skip
def test_malformed_events_are_protocol_errors(body):
    """
    An event that is no JSON, or JSON of another shape, ends the stream with a protocol error.
    """
    with pytest.raises(ProtocolError):
        chunks(wire(event({"content": "a"}), done=False) + body + wire(event({}, "stop")))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": {"message": "no such key", "code": "invalid_api_key"}}', AuthenticationFailed),
        (b'  \n{"error": {"code": 503, "message": "busy"}}', Overloaded),
        (b'[{"error": {"code": 404, "status": "NOT_FOUND", "message": "models/x is not found"}}]', ModelNotFound),
        (b'{"choices": [{"message": {"content": "whole"}}]}', ProtocolError),
        (b"<!doctype html><p>" + b"x" * 9000, ProtocolError),
        (b"{" + b"x" * 2**21, ProtocolError),
    ],
)
def test_json_or_a_page_where_events_were_asked_for(body, error):
    """
    An error in place of a stream is that error; anything else in its place is a protocol error.
    """
    for pieces in ([body], [body[i : i + 997] for i in range(0, len(body), 997)]):
        reader = DIALECT.reader(STREAM, Quirks())
        with pytest.raises(error) as raised:
            for piece in pieces:
                assert [] == reader.feed(piece)
            reader.end()
        assert len(raised.value.message) < 260


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'data: {"error":{"message":"x","type":"server_error","code":null}}\n\n', UpstreamError),
        (b'event: error\ndata: {"error":{"message":"x","type":"invalid_request_error","code":"tool_use_failed"}}\n\n', BadRequest),
        (b'data: {"error":{"code":429,"message":"slow"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}\n\n', RateLimited),
        (b'data: {"choices":[{"delta":{},"finish_reason":"error","error":{"code":502,"message":"x"}}]}\n\n', UpstreamError),
        (b'data: {"object":"error","message":"x","type":"BadRequestError","code":400}\n\n', BadRequest),
        (b'event: error\ndata: {"message":"The model is overloaded","type":"overloaded_error"}\n\n', Overloaded),
        (b"event: error\ndata: insufficient credits\n\n", QuotaExhausted),
        (b'data: {"error":"rate limit reached, try again in 1.5s"}\n\n', RateLimited),
    ],
)  # fmt: skip
def test_an_error_inside_a_stream_is_classified_by_its_body(body, error):
    """
    The status was 200; the event says what went wrong, in each of the shapes.
    """
    with pytest.raises(error) as raised:
        chunks(wire(event({"content": "a"}), done=False) + body)

    assert raised.type is error


def test_a_wish_in_words_is_a_retry_after():
    """
    Who says only in its sentence how long to wait is understood.
    """
    found = DIALECT.read_error(429, {}, b'{"error":{"message":"Rate limit. Please try again in 1m2.5s. Bye"}}')
    heard = DIALECT.read_error(429, {"retry-after": "3"}, b'{"error":{"message":"Please try again in 9s."}}')

    assert (62.5, 3.0) == (found.retry_after, heard.retry_after)


def test_tool_call_pieces_find_their_call():
    """
    Pieces are joined by index; ids of their own under one index, or none at all, still make the right calls.
    """
    by_index = folded(
        event(calls(call(0, "x", "a", ""), call(1, "y", "b", ""))),
        event(calls(call(1, arguments='{"q"'))),
        event(calls(call(0, arguments='{"p":1}'), call(1, arguments=":2}"))),
        event({}, "tool_calls"),
    )
    all_zero = folded(
        event(calls(call(0, "x", "a", '{"p":1}'))), event(calls(call(0, "y", "b", '{"q":2}'))), event({}, "tool_calls")
    )
    by_id = folded(
        event(calls(call(None, "x", "a", '{"p"'))),
        event(calls(call(None, "y", "b", '{"q"'))),
        event(calls(call(None, "x", None, ":1}"))),
        event(calls(call(None, "y", None, ":2}"))),
        event({}, "tool_calls"),
    )
    bare = folded(
        event(calls(call(None, None, "a", '{"p"'))),
        event(calls(call(None, None, None, ":1}"))),
        event(calls(call(None, None, "b", '{"q":2}')), "tool_calls"),
    )

    for found in (by_index, all_zero, by_id, bare):
        assert [("a", {"p": 1}), ("b", {"q": 2})] == [(one.name, one.parsed()) for one in found.tool_calls]
        assert 2 == len({one.id for one in found.tool_calls if one.id})
        assert [0, 1] == [one.index for one in found.tool_calls]


def test_a_call_that_never_got_an_id_gets_one_at_the_end():
    """
    The id is made when it is clear that none will come, and is the same on every reading.
    """
    events = [event(calls(call(0, None, "a", "{}"))), event({}, "tool_calls")]
    late = [event(calls(call(0, None, "a"))), event(calls(call(0, "x", None, "{}"))), event({}, "tool_calls")]

    assert folded(*events).tool_calls[0].id == folded(*events).tool_calls[0].id != ""
    assert "x" == folded(*late).tool_calls[0].id


def test_a_thought_signature_travels_with_its_call():
    """
    What hangs on a call in a stream is in the message that is sent back.
    """
    piece = call(0, "x", "a", "{}") | {"extra_content": {"google": {"thought_signature": "s"}}}
    found = folded(event(calls(piece)), event({}, "tool_calls"))

    assert {"google": {"thought_signature": "s"}} == found.message["tool_calls"][0]["extra_content"]


def test_a_repeated_tool_name_is_not_doubled():
    """
    The recorded stream that names its tool with every piece calls that tool once.
    """
    found = fold(chunks(record("cee7395fbf9d43b4")["response_body"].encode()))
    again = folded(event(calls(call(0, "x", "f", "{"))), event(calls(call(0, "x", "f", "}"))), event({}, "tool_calls"))

    assert ["llm_version"] == [one.name for one in found.tool_calls]  # type: ignore[attr-defined]
    assert found.finish_reason is None  # type: ignore[attr-defined]
    assert [("f", {})] == [(one.name, one.parsed()) for one in again.tool_calls]


def test_an_error_after_text_is_raised():
    """
    Recorded streams that fail after some text, as Groq's and OpenRouter's do, raise what their error says.
    """
    for id in ("4a3fa7aa83078359", "52b344756eab8e2d"):
        with pytest.raises(BadRequest):
            chunks(record(id)["response_body"].encode())


def test_a_chunk_may_carry_the_message_so_far():
    """
    Perplexity repeats the whole message beside each delta; only the delta counts.
    """
    first, second = event({"content": "a"}), event({"content": "b"}, "stop")
    first["choices"][0]["message"] = {"role": "assistant", "content": "a"}
    second["choices"][0]["message"] = {"role": "assistant", "content": "ab"}

    assert "ab" == folded(first, second).text


def test_a_text_completion_streams_its_text():
    """
    The older format has `text` in place of a delta.
    """
    events = [
        {"choices": [{"text": text, "index": 0, "finish_reason": end}]} for text, end in (("a", None), ("b", "stop"))
    ]

    assert "ab" == folded(*events, request=Request("complete", "m", {}, True)).text


def test_a_passed_through_stream_is_not_judged():
    """
    Of a format that is not read here every event is passed on, and the end of the body is the end.
    """
    events = [{"type": "response.created"}, {"type": "note", "message": "hi"}]
    found = chunks(wire(*events, done=False), request=Request("request", stream=True, path="/responses"))

    assert events == [chunk.raw for chunk in found]


# Errors in.


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": {"message": "x", "code": "invalid_api_key"}}, AuthenticationFailed),
        (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***34."}, AuthenticationFailed),
        (401, {"detail": "Invalid API Key"}, AuthenticationFailed),
        (403, {"error": {"message": "Project lacks access", "code": None}}, PermissionDenied),
        (403, {"error": "You have run out of credits"}, QuotaExhausted),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, QuotaExhausted),
        (429, {"error": {"message": "x", "type": "insufficient_quota", "code": "credit_balance_exhausted"}}, QuotaExhausted),
        (429, {"error": {"code": "1113", "message": "balance"}}, QuotaExhausted),
        (429, {"error": {"code": "1302", "message": "concurrency"}}, RateLimited),
        (413, {"error": {"message": "Request too large on tokens per minute (TPM)", "type": "tokens"}}, RateLimited),
        (429, {"error": {"message": "The engine is currently overloaded", "type": "engine_overloaded_error"}}, Overloaded),
        (503, {"error": {"message": "That model is currently overloaded", "type": "server_error"}}, Overloaded),
        (404, {"error": {"message": "x", "code": "model_not_found"}}, ModelNotFound),
        (400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}}, ModelNotFound),
        (400, {"error": {"message": "gpt-9.1 is not a valid model ID", "code": 400}}, ModelNotFound),
        (404, {"error": {"message": 'model "gemma3:4.5" not found, try pulling it first'}}, ModelNotFound),
        (404, b"Not Found", BadRequest),
        (404, {"detail": "Not Found"}, BadRequest),
        (400, {"error": {"message": "This model's maximum context length is 8 tokens."}}, ContextWindowExceeded),
        (400, {"error": {"message": "Your request exceeded model token limit : 8192"}}, ContextWindowExceeded),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, ContextWindowExceeded),
        (500, {"error": {"message": "the request exceeds the available context size"}}, ContextWindowExceeded),
        (400, {"error": {"message": "x", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, ContentFiltered),
        (400, {"error": {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, ContentFiltered),
        (403, {"error": {"message": "moderation", "code": 403, "metadata": {"reasons": ["was flagged"]}}}, ContentFiltered),
        (400, {"error": {"message": "Unsupported parameter: 'max_tokens'", "code": "unsupported_parameter"}}, BadRequest),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, BadRequest),
        (402, b"", QuotaExhausted),
        (408, b"", UpstreamError),
        (409, b"", UpstreamError),
        (500, {"error": {"message": "boom", "type": "server_error"}}, UpstreamError),
        (502, b"<html><h1>502 Bad Gateway</h1></html>", UpstreamError),
        (504, b"", UpstreamError),
        (529, b"", Overloaded),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota",
                          "details": [{"violations": [{"quotaId": "RequestsPerMinute"}]}]}}], RateLimited),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota",
                          "details": [{"violations": [{"quotaId": "RequestsPerDay"}]}]}}], QuotaExhausted),
    ],
)  # fmt: skip
def test_an_error_is_classified_by_its_body_first(status, body, expected):
    """
    Codes, then sentences, then the status decide; the upstream's status and code are kept.
    """
    found = DIALECT.read_error(status, {"x-request-id": "r"}, body if isinstance(body, bytes) else dumps(body))

    assert expected is type(found)
    assert (status, "r") == (found.status, found.request_id)


def test_an_errors_message_is_short_and_holds_no_key():
    """
    The upstream's sentence is cut at 500 characters and scrubbed; a page is not quoted.
    """
    long = DIALECT.read_error(400, {}, dumps({"error": {"message": "bad sk-proj-abcdefgh1234 " + "x" * 900}}))
    page = DIALECT.read_error(502, {}, b"<html>sk-proj-abcdefgh1234</html>")

    assert len(long.message) == 500 and "sk-proj" not in long.message
    assert "the upstream answered 502" == page.message


# The server's side.


def test_a_request_is_read_and_written_again_as_it_was():
    """
    Unknown names, order and values of a caller's body reach the upstream as they came.
    """
    sent = {"model": "m", "messages": [{"role": "user", "content": "é", "x": None}], "stream": True, "new": [1.5, {"a": None}],
            "stream_options": {"include_usage": True}}  # fmt: skip
    request = DIALECT.read_request("chat", sent)

    assert ("m", True) == (request.model, request.stream)
    assert sent == json.loads(DIALECT.write_request(request, Quirks()).body)
    assert "model" in sent


@pytest.mark.parametrize(
    ("verb", "data"),
    [("chat", None), ("chat", []), ("chat", {}), ("chat", {"messages": "hi"}), ("complete", {"model": "m"}),
     ("embed", {"model": "m"}), ("chat", {"messages": [], "model": 7})],
)  # fmt: skip
def test_a_request_that_is_none_is_refused(verb, data):
    """
    A body without what its verb needs is a bad request.
    """
    with pytest.raises(BadRequest):
        DIALECT.read_request(verb, data).but()


def test_other_requests_are_read_unread():
    """
    A list of models needs no body, and whatever else is asked keeps its own.
    """
    assert Request("models") == DIALECT.read_request("models", None)
    assert b'{"a":1}' == DIALECT.read_request("request", {"a": 1}).encoded
    assert b"" == DIALECT.read_request("request", None).encoded


NOTE = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 1}}
REPLY = Response(
    id="chatcmpl-1",
    model="m",
    created=7,
    usage=Usage(3, 5, 1, None, 2, 0, 0),
    choices=[
        Choice(
            text="hi",
            reasoning="hm",
            tool_calls=[ToolCall("x", "f", '{"a":1}')],
            finish_reason="tool_calls",
            extra={"annotations": [NOTE]},
        ),
        Choice(index=1, text="ho", finish_reason="length"),
    ],
)


def written(reply: Response, body: dict[str, Any] | None = None, verb: Any = "chat") -> bytes:
    writer = DIALECT.writer(
        Request(verb, "m", {"stream_options": {"include_usage": True}} if body is None else body, True)
    )
    return b"".join(writer.feed(chunk) for chunk in explode(reply)) + writer.end()


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]


def test_what_is_written_is_read_back():
    """
    An answer survives its own stream and its own body.
    """
    found = fold(chunks(written(REPLY)))
    found.choices[0].citations = []  # type: ignore[attr-defined]
    found.usage.cache_write_tokens = None
    assert REPLY == found
    again = read(DIALECT.write_response(REPLY))
    assert [(c.text, c.reasoning, c.tool_calls, c.finish_reason) for c in REPLY.choices] == [
        (c.text, c.reasoning, c.tool_calls, c.finish_reason) for c in again.choices
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CHOICES = st.lists(
    st.builds(
        Choice,
        text=TEXT,
        reasoning=TEXT,
        tool_calls=st.lists(
            st.builds(ToolCall, id=st.uuids().map(str), name=TEXT.map("f".__add__), arguments=TEXT), max_size=2
        ),
        refusal=st.none() | TEXT.map("r".__add__),
        finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
        logprobs=st.none() | st.just({"content": [{"token": "a"}]}),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=80, deadline=None)
@given(CHOICES, st.integers(0, 10_000))
def test_any_answer_survives_its_stream(choices, cut):
    """
    Writing as a stream and reading it again, cut anywhere, changes nothing.
    """
    for index, choice in enumerate(choices):
        choice.index = index
        choice.tool_calls = [ToolCall(c.id, c.name, c.arguments, n) for n, c in enumerate(choice.tool_calls)]
    reply = Response(id="i", model="m", choices=choices, usage=Usage(1, 2, 0, None, 0, 0, 0))
    body = written(reply)
    reader = DIALECT.reader(STREAM, Quirks())

    assert reply == fold(reader.feed(body[:cut]) + reader.feed(body[cut:]) + reader.end())


def test_a_stream_begins_with_the_role_and_ends_with_done():
    """
    The role comes first for every choice, the usage last and only for who asked, and then [DONE].
    """
    asked, unasked = written(REPLY), written(REPLY, {})
    found = events_of(asked)

    assert ["assistant", "assistant"] == [
        next(e["choices"][0]["delta"]["role"] for e in found if e["choices"] and e["choices"][0]["index"] == index)
        for index in (0, 1)
    ]
    assert [] == found[-1]["choices"] and 8 == found[-1]["usage"]["total_tokens"]
    assert all("usage" not in e for e in found[:-1])
    assert all("usage" not in e for e in events_of(unasked))
    assert asked.endswith(b"data: [DONE]\n\n") and unasked.endswith(b"data: [DONE]\n\n")
    assert {("chatcmpl-1", 7, "m")} == {(e["id"], e["created"], e["model"]) for e in found}


def test_a_whole_answer_is_written_as_a_stream():
    """
    A cached answer reaches a streaming caller as a stream; what is no such answer does not.
    """
    writer = DIALECT.writer(STREAM)

    assert "hi" == fold(chunks(writer.feed(Chunk(whole=REPLY)) + writer.end())).text  # type: ignore[attr-defined]
    with pytest.raises(BadRequest):
        writer.feed(Chunk(whole=Value(value=1)))


def test_a_legacy_caller_gets_a_legacy_function_call():
    """
    Who asked with `functions` is answered with `function_call`, whole and streamed.
    """
    reply = Response(id="i", choices=[Choice(tool_calls=[ToolCall("x", "f", "{}")], finish_reason="function_call")])
    message = DIALECT.write_response(reply)["choices"][0]["message"]
    streamed = events_of(written(reply, {"functions": []}))[0]["choices"][0]["delta"]

    assert {"name": "f", "arguments": "{}"} == message["function_call"] == streamed["function_call"]
    assert "tool_calls" not in message and "tool_calls" not in streamed


def test_citations_without_a_place_stand_at_the_top():
    """
    Addresses that no annotation holds are told beside the choices.
    """
    reply = Response(id="i", choices=[Choice(text="t", citations=["https://a"], finish_reason="stop")])

    assert ["https://a"] == DIALECT.write_response(reply)["citations"]
    assert ["https://a"] == fold(chunks(written(reply))).citations  # type: ignore[attr-defined]


def test_openais_own_types_accept_what_is_written():
    """
    Bodies and chunks of every verb validate against the types of the `openai` package.
    """
    types = pytest.importorskip("openai.types")
    chat = pytest.importorskip("openai.types.chat")
    bare = Response(id="i", model="m", choices=[Choice(text="t", finish_reason="odd word")])

    for reply in (REPLY, bare):
        chat.ChatCompletion.model_validate(DIALECT.write_response(reply))
        types.Completion.model_validate(DIALECT.write_response(reply, Request("complete")) | {"choices": []})
        for item in events_of(written(reply)):
            chat.ChatCompletionChunk.model_validate(item)
    types.Completion.model_validate(DIALECT.write_response(bare, Request("complete")))
    for item in events_of(written(bare, verb="complete")):
        assert "t" == item["choices"][0]["text"] or item["choices"][0]["finish_reason"]
    vectors = DIALECT.write_response(Embeddings(model="e", vectors=[[0.5]], usage=Usage(2)))
    assert [0.5] == types.CreateEmbeddingResponse.model_validate(vectors).data[0].embedding
    model = DIALECT.write_response(Models(data=[Model("a", "p")]))["data"][0]
    assert "p" == types.Model.model_validate(model).owned_by
    assert {"a": 1} == DIALECT.write_response(RawResponse(content=b'{"a":1}'))
    with pytest.raises(BadRequest):
        DIALECT.write_response(Value(value=1))


@pytest.mark.parametrize(
    ("error", "status", "exception"),
    [
        (BadRequest("m"), 400, "BadRequestError"),
        (ContextWindowExceeded("m", status=413), 400, "BadRequestError"),
        (AuthenticationFailed("m"), 401, "AuthenticationError"),
        (PermissionDenied("m"), 403, "PermissionDeniedError"),
        (ModelNotFound("m", status=400), 404, "NotFoundError"),
        (RateLimited("m", retry_after=1.2), 429, "RateLimitError"),
        (QuotaExhausted("m", status=403), 429, "RateLimitError"),
        (LimitReached("m", retry_after=0.2), 429, "RateLimitError"),
        (BudgetExceeded("m"), 402, "APIStatusError"),
        (Overloaded("m", status=529), 503, "InternalServerError"),
        (UpstreamTimeout("m"), 504, "InternalServerError"),
        (AllAttemptsFailed("m", [Overloaded("a"), RateLimited("b", retry_after=2.0)]), 429, "RateLimitError"),
    ],
)
def test_errors_arrive_as_the_sdks_own(error: GatewayError, status: int, exception: str):
    """
    The SDK raises the exception of the class, does not try again by itself, and reads the code and the wish.
    """
    openai = pytest.importorskip("openai")
    httpx2 = pytest.importorskip("httpx2")
    asked = []

    def handler(request: Any) -> Any:
        asked.append(request)
        found, headers, body = DIALECT.write_error(error)
        return httpx2.Response(found, headers=headers, json=body)

    client = openai.OpenAI(
        api_key="k", base_url="http://llmgate/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(handler))
    )
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="m", messages=[])

    assert (exception, status, 1) == (type(raised.value).__name__, raised.value.status_code, len(asked))
    assert raised.value.body["message"] == "m"
    if error.retry_after is not None:
        assert error.retry_after <= float(raised.value.response.headers["retry-after"]) < error.retry_after + 1


def test_an_error_in_a_written_stream_reaches_the_sdk():
    """
    A stream that fails on its way raises in the caller's SDK.
    """
    openai = pytest.importorskip("openai")
    httpx2 = pytest.importorskip("httpx2")
    writer = DIALECT.writer(STREAM)
    body = writer.feed(Chunk(text="a", id="i")) + writer.error(Overloaded("too much"))
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    client = openai.OpenAI(api_key="k", base_url="http://llmgate/v1", http_client=httpx2.Client(transport=transport))
    stream = client.chat.completions.create(model="m", messages=[], stream=True)

    assert "a" == next(stream).choices[0].delta.content
    with pytest.raises(openai.APIError, match="too much"):
        next(stream)


def test_what_another_format_keeps_for_itself_stays_behind() -> None:
    """
    When a conversation moves here from another format, what only that format understands is not sent; all else is.
    """
    answered = {"role": "assistant", "content": "hi", "thinking_blocks": [{"type": "thinking"}], "output_items": [{}]}
    body = {"messages": [{"role": "user", "content": '"thinking_blocks"'}, answered], "temperature": 0}
    written = json.loads(DIALECT.write_request(Request("chat", "m", body, False, dumps(body)), Quirks()).body)

    assert [body["messages"][0], {"role": "assistant", "content": "hi"}] == written["messages"]
    assert 0 == written["temperature"]
    assert answered["thinking_blocks"], "the caller's own message is left as it is"
