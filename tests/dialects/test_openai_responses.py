"""What OpenAI's Responses means, promise by promise."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from openai.types.responses import Response as WireResponse

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.responses_requests import HINTS, NEUTRAL
from llmgate.errors import (
    BadRequest,
    ContentFiltered,
    GatewayError,
    Overloaded,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
)
from llmgate.types.request import Request
from llmgate.types.response import Choice, Chunk, Embeddings, Models, Response, ToolCall, Value, explode, fold
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

dialect = dialect_named("openai_responses")
PLAIN = Quirks()

Json = dict[str, Any]

REASONING: Json = {
    "type": "reasoning",
    "id": "rs_1",
    "encrypted_content": "x",
    "summary": [{"type": "summary_text", "text": "hm"}],
}
SEARCH: Json = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}
CALL: Json = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}


def said(text: str, id: str = "msg_1", **own: Any) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": [part], **own}


def read(*output: Json, **response: Any) -> Response:
    body = {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-x",
        "status": "completed",
        "output": list(output),
        **response,
    }
    answer = dialect.read_response(Request("chat", "m"), json.dumps(body).encode(), PLAIN)
    assert isinstance(answer, Response)
    return answer


def write(stream: bool = False, quirks: Quirks = PLAIN, **body: Any) -> Json:
    body = {"messages": [{"role": "user", "content": "hi"}], **body}
    written = dialect.write_request(Request("chat", "gpt-x", body, stream, dumps(body)), quirks)
    assert ("POST", "/responses") == (written.method, written.path)
    out: Json = json.loads(written.body)
    return out


def items(*messages: Json, **body: Any) -> list[Json]:
    out: list[Json] = write(messages=list(messages), **body)["input"]
    return out


def asked(**data: Any) -> Json:
    request = dialect.read_request("chat", {"model": "gpt-x", "input": "hi", **data})
    body: Json = json.loads(request.encoded)
    assert request.body == body
    return body


def stream(*events: Json) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), dumps(event)) for event in events)


def chunks_of(*events: Json) -> list[Chunk]:
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    return reader.feed(stream(*events)) + reader.end()


def folded(*events: Json) -> Response:
    answer = fold(chunks_of(*events))
    assert isinstance(answer, Response)
    return answer


def completed(*output: Json, **response: Any) -> Json:
    return {
        "type": "response.completed",
        "response": {"id": "resp_1", "status": "completed", "output": list(output), **response},
    }


def piece(kind: str, index: int, delta: str, **own: Any) -> Json:
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": delta, **own}


def done(index: int, item: Json) -> Json:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def added(index: int, item: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


# Answers.


def test_an_answer_is_read() -> None:
    """
    Texts are joined, reasoning is read, calls are calls unless they ran at the provider's, and addresses are cited once.
    """
    cited = {"type": "url_citation", "url": "https://x.test", "title": "", "start_index": 0, "end_index": 1}
    message = said("It rains.")
    message["content"][0]["annotations"] = [
        cited,
        cited,
        {"type": "file_citation", "file_id": "f", "index": 0, "filename": "n"},
    ]
    custom = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c2", "name": "g", "input": "x y"}

    answer = read(REASONING, SEARCH, message, CALL, custom, created_at=5.0)

    assert ("It rains.", "hm", ["https://x.test"]) == (answer.text, answer.reasoning, answer.citations)
    assert [ToolCall("c1", "f", "{}", 0), ToolCall("c2", "g", "x y", 1, {"type": "custom"})] == answer.tool_calls
    assert ("resp_1", "gpt-x", 5, "tool_calls") == (answer.id, answer.model, answer.created, answer.finish_reason)
    assert message == answer.raw["output"][2]


def test_a_refusal_is_no_text() -> None:
    """
    A refusal stands apart from the text, whole or streamed.
    """
    part = {"type": "refusal", "refusal": "No."}
    message = {**said(""), "content": [part]}
    whole = read(message)
    streamed = folded(piece("refusal", 0, "N"), piece("refusal", 0, "o."), done(0, message), completed(message))

    assert ("", "No.", "stop") == (whole.text, whole.refusal, whole.finish_reason)
    assert ("", "No.", "stop") == (streamed.text, streamed.refusal, streamed.finish_reason)


@pytest.mark.parametrize(
    ("status", "reason", "finish", "native"),
    [
        ("completed", None, "stop", None),
        ("incomplete", "max_output_tokens", "length", "max_output_tokens"),
        ("incomplete", "content_filter", "content_filter", None),
        ("incomplete", "of_tomorrow", "stop", "of_tomorrow"),
        ("incomplete", None, "stop", "incomplete"),
        ("cancelled", None, "error", "cancelled"),
        ("in_progress", None, None, None),
        ("queued", None, None, None),
    ],
)
def test_how_an_answer_ended(status: str, reason: str | None, finish: str | None, native: str | None) -> None:
    """
    Status and reason are told in chat's words, and the upstream's own stays beside them.
    """
    details = {"reason": reason} if reason else None
    choice = read(said("x"), status=status, incomplete_details=details).choices[0]

    assert (finish, native) == (choice.finish_reason, choice.native_finish_reason)


def test_calls_end_an_answer_unless_it_was_cut_off() -> None:
    """
    An answer with calls ends in them; one that was cut off says so, calls or not; a provider's own tool is no call.
    """
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}

    assert "tool_calls" == read(CALL).finish_reason
    assert "length" == read(CALL, **cut).finish_reason
    assert ("stop", []) == (read(SEARCH, said("x")).finish_reason, read(SEARCH, said("x")).tool_calls)


def test_counts_are_read() -> None:
    """
    Reasoning is part of the output, what came out of the cache part of the input, and the price is the provider's.
    """
    counts = {
        "input_tokens": 329,
        "input_tokens_details": {"cached_tokens": 320, "cache_write_tokens": 4},
        "output_tokens": 160,
        "output_tokens_details": {"reasoning_tokens": 149},
        "total_tokens": 489,
        "cost_in_usd_ticks": 4752500,
    }
    usage = read(said("x"), usage=counts).usage

    assert (329, 160, 320, 4, 149) == (
        usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens,
    )  # fmt: skip
    assert Decimal("0.00047525") == usage.cost
    assert Usage() == read(said("x")).usage
    assert Usage() == read(said("x"), usage=None).usage


def test_probabilities_are_chats() -> None:
    """
    Probabilities of tokens stand where chat has them.
    """
    token = {"token": "x", "bytes": [120], "logprob": -0.1, "top_logprobs": []}
    message = said("x")
    message["content"][0]["logprobs"] = [token]

    assert {"content": [token]} == read(message).choices[0].logprobs
    assert {"content": [token]} == folded(piece("output_text", 0, "x", logprobs=[token]), completed(message)).choices[
        0
    ].logprobs
    late = folded(piece("output_text", 0, "x"), done(0, message), completed(message))
    assert {"content": [token]} == late.choices[0].logprobs


def test_what_chat_cannot_say_stays_with_the_message() -> None:
    """
    Reasoning, searches and phases are kept with all items; an answer of words and calls alone keeps nothing.
    """
    for output in ([REASONING, said("x")], [SEARCH, said("x")], [said("x", phase="commentary")], [CALL, said("x")]):
        assert {"output_items": output} == read(*output).choices[0].extra

    assert {} == read(said("x"), CALL).choices[0].extra


def test_a_failure_is_an_error_and_no_answer() -> None:
    """
    A Response with the status failed, or with an error, raises what it says, whatever the HTTP status was.
    """
    for code, kind in (
        ("server_error", UpstreamError),
        ("rate_limit_exceeded", RateLimited),
        ("invalid_prompt", BadRequest),
        ("image_content_policy_violation", ContentFiltered),
    ):
        failed = {"status": "failed", "error": {"code": code, "message": "It broke."}}
        with pytest.raises(GatewayError) as whole:
            read(**failed)
        with pytest.raises(GatewayError) as streamed:
            chunks_of({"type": "response.failed", "response": failed})

        assert (kind, kind) == (type(whole.value), type(streamed.value))
        assert code == whole.value.code == streamed.value.code
    with pytest.raises(UpstreamError):
        read(status="failed")


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"output": 3}', b'{"output": [{"type": "message"}]}', b"3"]
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    """
    A body that is no Response is a protocol error, never an empty answer.
    """
    with pytest.raises(ProtocolError):
        dialect.read_response(Request("chat", "m"), body, PLAIN)


def test_a_written_answer_is_a_response() -> None:
    """
    An answer of any provider is written as a Response that the SDK takes and that reads as it did.
    """
    answer = Response(
        id="a1",
        model="m",
        created=7,
        usage=Usage(input_tokens=3, output_tokens=4, reasoning_tokens=1, cache_read_tokens=2, cache_write_tokens=0),
        choices=[
            Choice(
                text="It rains.",
                reasoning="hm",
                refusal="No.",
                citations=["https://x.test"],
                tool_calls=[
                    ToolCall("c1", "f", '{"a":1}', 0),
                    ToolCall("c2", "g", "x", 1, {"type": "custom", "namespace": "n"}),
                ],
                finish_reason="tool_calls",
            ),
            Choice(index=1, text="never"),
        ],
    )
    written = dialect.write_response(answer)

    assert "It rains." == WireResponse.model_validate(written).output_text
    again = dialect.read_response(Request("chat", "m"), json.dumps(written).encode(), PLAIN)
    assert isinstance(again, Response)
    assert replace(answer.choices[0], extra=again.choices[0].extra) == again.choices[0]
    assert answer.usage == again.usage


def test_kept_items_are_written_as_they_came() -> None:
    """
    An answer that came as items goes out as the same items, but not if somebody has edited it since.
    """
    answer = read(REASONING, said("x"))
    edited = replace(answer, choices=[replace(answer.choices[0], text="y")])

    assert [REASONING, said("x")] == dialect.write_response(answer)["output"]
    assert "y" == WireResponse.model_validate(dialect.write_response(edited)).output_text


@pytest.mark.parametrize(
    ("finish", "status"), [("length", "incomplete"), ("content_filter", "incomplete"), ("stop", "completed")]
)
def test_a_written_end_is_read_as_it_was(finish: str, status: str) -> None:
    """
    What chat calls the end is told by status and reason, in a Response and as the last event of a stream.
    """
    answer = Response(id="a", choices=[Choice(text="x", finish_reason=finish)])
    writer = dialect.writer(Request("chat", "m", stream=True))
    streamed = writer.feed(Chunk(whole=answer)) + writer.end()

    assert status == dialect.write_response(answer)["status"]
    assert f"event: response.{status}\n".encode() in streamed
    assert finish == read(**dialect.write_response(answer)).finish_reason


def test_everything_but_the_chat_is_chats() -> None:
    """
    Embeddings and models are asked for and read as in OpenAI's other format; nothing else can be written.
    """
    vectors = b'{"data": [{"index": 0, "embedding": [1.0]}], "model": "e"}'
    embedded = dialect.read_response(Request("embed", "e"), vectors, PLAIN)

    assert isinstance(embedded, Embeddings) and [[1.0]] == embedded.vectors
    assert "/embeddings" == dialect.write_request(Request("embed", "e", {"input": "x"}), PLAIN).path
    assert isinstance(dialect.read_response(Request("models"), b'{"data": []}', PLAIN), Models)
    assert "/models" == dialect.write_request(Request("models"), PLAIN).path
    with pytest.raises(BadRequest):
        dialect.write_response(Value(value=1))


# Requests.


def test_messages_become_items() -> None:
    """
    Roles and parts of chat are said in the words of Responses; calls and results become items of their own.
    """
    assert [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "See"},
                {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
                {"type": "input_file", "file_id": "file_1"},
                {"type": "input_image", "image_url": "https://x.test/b.png"},
            ],
        },
        {"role": "assistant", "content": "One moment."},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "12"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "13"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "No"}, {"type": "refusal", "refusal": "no"}]},
    ] == items(
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                {"type": "file", "file": {"file_id": "file_1"}},
                {"type": "image_url", "image_url": "https://x.test/b.png"},
            ],
        },
        {
            "role": "assistant",
            "content": "One moment.",
            "reasoning_content": "of another model",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "13"}]},
        {"role": "assistant", "content": "No", "refusal": "no"},
    )  # fmt: skip


def test_the_next_turn_gives_back_what_was_kept_in_its_place() -> None:
    """
    A message that an answer gave goes back as the items it came as: ids, reasoning and phases, in their order.
    """
    output = [REASONING, said("First.", phase="commentary"), {**REASONING, "id": "rs_2"}, CALL]
    message = read(*output).message

    assert output == items(message)
    assert output == items(json.loads(json.dumps(message)), store=False)


def test_an_edited_message_goes_back_as_edited() -> None:
    """
    Where somebody changed what a message says, its words count; what was kept beside them stays before them.
    """
    message = read(REASONING, said("x"), CALL).message

    refused = {**message, "refusal": "No."}

    assert [REASONING, {"role": "assistant", "content": "y"}] == items({**message, "content": "y", "tool_calls": []})
    assert {"type": "refusal", "refusal": "No."} == items(refused)[1]["content"][1]


def test_reasoning_that_nobody_stored_is_not_referred_to() -> None:
    """
    Without a store, reasoning goes back only if it carries its content.
    """
    bare = {"type": "reasoning", "id": "rs_9", "summary": []}
    message = read(bare, said("x")).message

    assert [said("x")] == items(message, store=False)
    assert [bare, said("x")] == items(message)


def test_parameters_are_told_in_the_words_of_responses() -> None:
    """
    Limits, efforts, formats and probabilities move to their places beside what is already there; the rest passes.
    """
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}

    assert {
        "model": "gpt-x",
        "store": False,
        "future": 1,
        "text": {"future": 2, "verbosity": "low", "format": {"type": "json_schema", **schema}},
        "reasoning": {"summary": "auto", "effort": "high"},
        "include": ["x", "message.output_text.logprobs"],
        "top_logprobs": 2,
        "input": [{"role": "user", "content": "hi"}],
        "max_output_tokens": 9,
        "stream": True,
    } == write(
        stream=True,
        store=False,
        future=1,
        text={"future": 2},
        verbosity="low",
        response_format={"type": "json_schema", "json_schema": schema},
        reasoning={"summary": "auto"},
        reasoning_effort="high",
        include=["x"],
        logprobs=True,
        top_logprobs=2,
        max_tokens=5,
        max_completion_tokens=9,
        stream_options={"include_usage": True},
        temperature=None,
        prediction={"type": "content", "content": "x"},
        n=1,
        stop=[],
    )
    assert {"include_obfuscation": False} == write(stream_options={"include_obfuscation": False})["stream_options"]
    assert "include" not in write(logprobs=False)


def test_tools_are_flat_and_as_loose_as_in_chat() -> None:
    """
    A function that says nothing of strict is loose, as in chat; tools of the provider's pass.
    """
    grammar = {"definition": "a: b", "syntax": "lark"}
    tools = write(
        tools=[
            {"type": "function", "function": {"name": "f"}},
            {"type": "function", "function": {"name": "g", "parameters": {}, "strict": True}, "defer_loading": True},
            {"type": "function", "function": {"name": "h", "parameters": {}, "strict": None}},
            {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": grammar}}},
            {"type": "web_search"},
        ]
    )["tools"]

    assert [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "function", "name": "g", "parameters": {}, "strict": True, "defer_loading": True},
        {"type": "function", "name": "h", "parameters": {}},
        {"type": "custom", "name": "c", "format": {"type": "grammar", **grammar}},
        {"type": "web_search"},
    ] == tools


@pytest.mark.parametrize(
    ("chat", "native"),
    [
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "custom", "custom": {"name": "f"}}, {"type": "custom", "name": "f"}),
        ({"type": "web_search"}, {"type": "web_search"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)  # fmt: skip
def test_a_choice_of_tools_is_flat(chat: Any, native: Any) -> None:
    """
    Every way to choose among tools has its word in both formats.
    """
    assert native == write(tool_choice=chat)["tool_choice"]
    assert chat == asked(tool_choice=native)["tool_choice"]


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_what_responses_cannot_express_is_refused_by_name(name: str) -> None:
    """
    A parameter that would change the answer is never dropped: it is refused, unless its value asks for nothing.
    """
    with pytest.raises(BadRequest, match=f"^{name}: "):
        write(**{name: 2})
    for value in (*NEUTRAL[name], None):
        assert name not in write(**{name: value})
    assert not NEUTRAL.keys() & HINTS


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [{"content": "x"}]}, r"messages\[0\]: 'role' is missing"),
        ({"messages": [{"role": "bard", "content": "x"}]}, r"messages\[0\]: .*no role 'bard'"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, r"messages\[0\]: .*no audio"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, r"messages\[0\]: .*no audio"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, r"messages\[0\]: .*no function_call"),
        ({"messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\]: 'tool_call_id' is missing"),
        ({"messages": 3}, "messages: it is not of the shape"),
        ({"response_format": 3}, "response_format: it is not of the shape"),
        ({"tool_choice": {}}, "tool_choice: 'type' is missing"),
        ({"future": float("nan")}, "the request is not JSON"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_written_says_where(body: Json, words: str) -> None:
    """
    A request that is misshapen or asks for what Responses does not have is refused; the error says where.
    """
    request = Request("chat", "m", {"messages": [{"role": "user", "content": "hi"}], **body})
    with pytest.raises(BadRequest, match=words):
        dialect.write_request(request, PLAIN)


def test_quirks_bend_the_body_and_the_path() -> None:
    """
    Keys are renamed and dropped and the path is replaced where an upstream wants it so, also in an untouched request.
    """
    quirks = Quirks(rename={"user": "who"}, drop=frozenset({"store"}), paths={"chat": "/v2/responses"})
    data = {"model": "m", "input": "hi", "user": "u", "store": True}
    request = dialect.read_request("chat", data)
    for asking in (request, replace(request, body=dict(request.body))):
        written = dialect.write_request(asking, quirks)
        body = json.loads(written.body)

        assert ("/v2/responses", "u") == (written.path, body["who"])
        assert not {"user", "store"} & body.keys()
    assert {"model": "m", "input": "hi", "user": "u", "store": True} == data


def test_an_untouched_request_is_written_as_it_came() -> None:
    """
    A request goes out as it was read, to the model it is sent to; whoever makes another body of it gets that one.
    """
    data = {
        "model": "a",
        "input": "hi",
        "instructions": "x",
        "tools": [{"type": "function", "name": "f"}],
        "stream": False,
    }
    request = dialect.read_request("chat", data)
    changed = {**request.body, "temperature": 0}
    mutated = dialect.read_request("chat", data)
    mutated.body["temperature"] = 0
    mutated.encoded = dumps(mutated.body)

    assert {**data, "model": "b"} == json.loads(dialect.write_request(request.to("b"), PLAIN).body)
    for other in (replace(request, body=changed, encoded=dumps(changed)), mutated):
        written = json.loads(dialect.write_request(other, PLAIN).body)
        assert 0 == written["temperature"]
        assert [{"role": "system", "content": "x"}, {"role": "user", "content": "hi"}] == written["input"]


def test_a_request_is_read_into_chats_shape() -> None:
    """
    Items become messages that any other dialect can write: instructions, parts, calls and results.
    """
    body = asked(
        instructions="Be brief.",
        input=[
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "See"},
                    {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
                    {"type": "input_file", "file_data": "data:x", "filename": "n"},
                    {"type": "input_file", "file_url": "https://x.test/f"},
                ],
            },
            said("One moment."),
            CALL,
            {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
            {"type": "function_call_output", "call_id": "c1", "output": "12", "status": "completed", "future": 1},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "13"},
            {"role": "user", "content": "And?", "name": "Ann", "id": "msg_7"},
            {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
            {"id": "msg_0"},
        ],
    )

    assert [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:x", "filename": "n"}},
                {"type": "input_file", "file_url": "https://x.test/f"},
            ],
        },
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12", "future": 1},
        {"role": "tool", "tool_call_id": "c2", "content": "13"},
        {"role": "user", "content": "And?", "name": "Ann"},
        {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
        {"id": "msg_0"},
    ] == body["messages"]
    assert "instructions" not in body


def test_parameters_are_read_into_chats_words() -> None:
    """
    Limits, efforts, formats and probabilities get chat's names; what chat has no name for stays.
    """
    schema = {"name": "n", "schema": {"type": "object"}}

    assert {
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 9,
        "reasoning_effort": "high",
        "reasoning": {"summary": "auto"},
        "response_format": {"type": "json_schema", "json_schema": schema},
        "verbosity": "low",
        "logprobs": True,
        "include": ["x"],
        "tools": [{"type": "function", "function": {"name": "f", "strict": None}, "defer_loading": True}, {"type": "web_search"}],
        "truncation": "auto",
    } == asked(
        max_output_tokens=9,
        reasoning={"effort": "high", "summary": "auto"},
        text={"format": {"type": "json_schema", **schema}, "verbosity": "low"},
        include=["x", "message.output_text.logprobs"],
        tools=[{"type": "function", "name": "f", "defer_loading": True}, {"type": "web_search"}],
        truncation="auto",
        stream=True,
    )  # fmt: skip


def test_a_chain_keeps_its_instructions() -> None:
    """
    Instructions are not handed down a chain of answers as messages are, so there they stay what they are.
    """
    body = asked(instructions="x", previous_response_id="resp_0")

    assert ("x", [{"role": "user", "content": "hi"}]) == (body["instructions"], body["messages"])
    assert [] == asked(input=None, previous_response_id="resp_0")["messages"]


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"input": 3},
        {"input": [3]},
        {"input": [{"content": "x"}]},
        {"input": "x", "model": 3},
        {"input": "x", "text": 3},
    ],
)
def test_what_is_no_request_is_refused(data: Any) -> None:
    """
    A body that is no request of this format is a bad request.
    """
    with pytest.raises(BadRequest):
        dialect.read_request("chat", data).but()


# Streams.


def test_a_stream_is_read() -> None:
    """
    Pieces belong to items by their index; calls are numbered over the calls alone; every event is given once.
    """
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x", "created_at": 5, "output": []}},
        added(0, {**REASONING, "summary": []}),
        piece("reasoning_summary_text", 0, "hm", item_id="changes"),
        done(0, REASONING),
        added(1, SEARCH),
        added(2, {**CALL, "arguments": ""}),
        added(3, {**CALL, "arguments": "", "call_id": "c2"}),
        piece("function_call_arguments", 3, "[", item_id="always"),
        piece("function_call_arguments", 2, "{}"),
        piece("function_call_arguments", 3, "]"),
        {"type": "keepalive"},
        {"type": "response.of_tomorrow"},
        completed(REASONING, usage={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    ]
    chunks = chunks_of(*events)
    answer = fold(chunks)

    assert events == [chunk.raw for chunk in chunks]
    assert isinstance(answer, Response)
    assert [ToolCall("c1", "f", "{}", 0), ToolCall("c2", "f", "[]", 1)] == answer.tool_calls
    assert ("hm", "tool_calls", 5, "gpt-x") == (answer.reasoning, answer.finish_reason, answer.created, answer.model)
    assert 3 == answer.usage.total_tokens


def test_items_count_where_the_end_repeats_nothing() -> None:
    """
    A stream whose end has no output still keeps the items that were done before it.
    """
    answer = folded(piece("output_text", 1, "x"), done(0, REASONING), done(1, said("x")), completed())

    assert ("x", {"output_items": [REASONING, said("x")]}) == (answer.text, answer.choices[0].extra)


@pytest.mark.parametrize(
    "events",
    [
        [done(0, said("It rains.")), done(1, CALL), completed()],
        [piece("output_text", 0, "It "), done(0, said("It rains.")), done(1, CALL), completed()],
        [piece("output_text", 0, "It rains."), piece("function_call_arguments", 1, "{"), done(0, said("It rains.")), done(1, CALL), completed()],
        [completed(said("It rains."), CALL)],
        [piece("output_text", 0, "It "), added(1, {**CALL, "arguments": ""}), completed(said("It rains."), CALL)],
    ],
)  # fmt: skip
def test_what_came_in_no_piece_comes_with_its_item(events: list[Json]) -> None:
    """
    Where pieces are missing, the rest is read from the finished item, and where those are missing, from the end.
    """
    answer = folded(*events)

    assert ("It rains.", [ToolCall("c1", "f", "{}", 0)]) == (answer.text, answer.tool_calls)
    assert "tool_calls" == answer.finish_reason


def test_a_finished_item_that_says_something_else_adds_nothing() -> None:
    """
    What was streamed stands, also where the item later says it in another way.
    """
    assert "abc" == folded(piece("output_text", 0, "abc"), done(0, said("ab… and more")), completed()).text


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "error", "code": "server_is_overloaded", "message": "busy", "param": None}, Overloaded),
        ({"type": "error", "error": {"type": "insufficient_quota", "message": "no money"}}, QuotaExhausted),
        ({"error": {"code": 429, "message": "slow down"}}, RateLimited),
    ],
)
def test_errors_inside_a_stream_are_raised(event: Json, kind: type[GatewayError]) -> None:
    """
    An error inside a stream is raised as what it says, with and without a line that names the event.
    """
    for framing in (b"event: error\ndata: ", b"data: "):
        reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
        with pytest.raises(kind):
            reader.feed(framing + dumps(event) + b"\n\n")


def test_only_the_last_event_proves_that_a_stream_is_whole() -> None:
    """
    A stream that ends before it is an error, however much was said; what follows it is ignored.
    """
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    reader.feed(stream(piece("output_text", 0, "x"), done(0, said("x"))))
    with pytest.raises(StreamInterrupted):
        reader.end()

    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    chunks = reader.feed(stream(completed(said("x"))) + b"data: [DONE]\n\n" + stream(piece("output_text", 0, "y")))
    assert reader.terminated
    assert ([], [], 1) == (reader.feed(b"data: {}\n\n"), reader.end(), len(chunks))


@pytest.mark.parametrize("event", [{"type": "response.output_text.delta"}, {"type": "response.completed"}, [], 3])
def test_an_event_of_another_shape_is_refused(event: Any) -> None:
    """
    An event that is none of this format is a protocol error.
    """
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    with pytest.raises(ProtocolError):
        reader.feed(b"data: " + dumps(event) + b"\n\n")


def test_a_written_stream_keeps_what_chat_cannot_say() -> None:
    """
    Reasoning and searches stand in the last event in their place, around what was streamed.
    """
    answer = replace(read(REASONING, SEARCH, said("x", phase="final_answer"), CALL), usage=Usage(1, 2))
    writer = dialect.writer(Request("chat", "m", stream=True))
    written = b"".join(writer.feed(chunk) for chunk in explode(answer)) + writer.end()
    output = json.loads(written.split(b"data: ")[-1])["response"]["output"]

    assert [REASONING, SEARCH] == output[:2]
    assert ("message", "final_answer", "c1") == (output[2]["type"], output[2]["phase"], output[3]["call_id"])


def test_a_written_error_is_what_the_sdk_raises_for() -> None:
    """
    An error is an event with the words where OpenAI promises them and where its SDK looks for them.
    """
    writer = dialect.writer(Request("chat", "m", stream=True))
    event = json.loads(writer.error(RateLimited("slow down")).split(b"data: ")[1])

    assert ("error", "slow down", "rate_limit_exceeded", 0) == (
        event["type"], event["message"], event["code"], event["sequence_number"],
    )  # fmt: skip
    assert "slow down" == event["error"]["message"]
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    with pytest.raises(RateLimited):
        reader.feed(writer.error(RateLimited("slow down")))
