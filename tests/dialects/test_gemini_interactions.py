"""Google's Interactions: what is asked, what is answered, how that is streamed, and what goes out again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    GatewayError,
    ModelNotFound,
    Overloaded,
    ProtocolError,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
)
from llmgate.types.request import Request
from llmgate.types.response import Choice, Chunk, Embeddings, Models, Response, ToolCall, explode, fold
from llmgate.types.usage import Usage

from . import corpus
from .corpus import PLAIN, Record, body_of, params

dialect = dialect_named("gemini_interactions")

MODEL = "gemini-3-flash-preview"
PNG = "iVBORw0KGgo="
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True},
}
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


def written(body: dict[str, Any], stream: bool = False, model: str = MODEL) -> dict[str, Any]:
    out = dialect.write_request(Request("chat", model, body, stream), PLAIN)
    assert ("POST", "/interactions?alt=sse" if stream else "/interactions") == (out.method, out.path)
    found: dict[str, Any] = json.loads(out.body)
    return found


def read(body: Any) -> Response:
    answer = dialect.read_response(Request("chat", MODEL), json.dumps(body).encode(), PLAIN)
    assert isinstance(answer, Response)
    return answer


def sse(*events: dict[str, Any]) -> bytes:
    named = b"".join(b"event: %b\ndata: %b\n\n" % (e["event_type"].encode(), json.dumps(e).encode()) for e in events)
    return named + b"event: done\ndata: [DONE]\n\n"


def read_stream(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(Request("chat", MODEL, {}, True), PLAIN)
    return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.end()


def folded(*events: dict[str, Any]) -> Response:
    answer = fold(read_stream(sse(*events)))
    assert isinstance(answer, Response)
    return answer


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_conversation_becomes_steps() -> None:
    """
    Each turn is what happened in it: what was said, called and returned; instructions stand in front of all.
    """
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.webp"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
            {"type": "video", "uri": "https://x/v", "processing": "agentic"},
        ]},
        {"role": "developer", "content": [{"type": "text", "text": "and kind"}]},
        {"role": "assistant", "content": "well", "tool_calls": [CALL], "reasoning_content": "another's"},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]  # fmt: skip

    out = written({"messages": messages})

    assert "be brief\n\nand kind" == out["system_instruction"]
    assert [
        {"type": "user_input", "content": [
            {"type": "text", "text": "look"},
            {"type": "image", "data": PNG, "mime_type": "image/png"},
            {"type": "image", "uri": "https://x/y.webp", "mime_type": "image/webp"},
            {"type": "audio", "data": "AA==", "mime_type": "audio/wav"},
            {"type": "document", "data": "AA==", "mime_type": "application/pdf"},
            {"type": "video", "uri": "https://x/v", "processing": "agentic"},
        ]},
        {"type": "model_output", "content": [{"type": "text", "text": "well"}]},
        {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
        {"type": "function_result", "call_id": "c1", "name": "f", "result": "42"},
    ] == out["input"]  # fmt: skip


def test_parameters_go_by_googles_names() -> None:
    """
    What OpenAI and Google both know is said in Google's words, and what is Google's own passes.
    """
    body = ASKED | {
        "max_tokens": 9, "temperature": 0, "top_p": 0.5, "seed": 1, "stop": "|", "reasoning_effort": "low",
        "tools": [TOOL, {"type": "google_search"}], "tool_choice": "required", "service_tier": "default",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "modalities": ["text", "image"], "n": 1, "user": "u", "metadata": {"a": "b"}, "frequency_penalty": 0,
        "previous_interaction_id": "v1_a", "store": False, "generation_config": {"speech_config": {"voice": "x"}},
    }  # fmt: skip

    out = written(body, stream=True)

    assert {
        "model": MODEL,
        "stream": True,
        "input": [{"type": "user_input", "content": [{"type": "text", "text": "hi"}]}],
        "generation_config": {
            "max_output_tokens": 9, "temperature": 0, "top_p": 0.5, "seed": 1, "stop_sequences": ["|"],
            "thinking_level": "low", "thinking_summaries": "auto", "tool_choice": "any", "speech_config": {"voice": "x"},
        },
        "tools": [
            {"type": "function", "name": "f", "description": "does", "parameters": {"type": "object"}},
            {"type": "google_search"},
        ],
        "response_format": {"type": "text", "mime_type": "application/json", "schema": {"type": "object"}},
        "response_modalities": ["text", "image"],
        "service_tier": "standard",
        "previous_interaction_id": "v1_a",
        "store": False,
    } == out  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ({"type": "function", "function": {"name": "f"}}, {"allowed_tools": {"mode": "any", "tools": ["f"]}}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}},
            {"allowed_tools": {"mode": "validated", "tools": ["f"]}},
        ),
    ],
)  # fmt: skip
def test_a_choice_of_tools_is_told_and_read_again(choice: Any, told: Any) -> None:
    """
    To what the model is held, it is held by Google's words as well.
    """
    out = written(ASKED | {"tools": [TOOL], "tool_choice": choice})

    assert told == out["generation_config"]["tool_choice"]
    assert choice == dialect.read_request("chat", out).body["tool_choice"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"reasoning_effort": "none"}, "reasoning_effort"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice"),
        ({"messages": [{"role": "robot", "content": "a"}]}, r"messages\[0\]"),
        ({"messages": [{"role": "system", "content": [{"type": "image", "data": PNG}]}]}, r"messages\[0\].*instructions"),
        ({"messages": [{"role": "assistant", "content": "a", "audio": {"id": "x"}}]}, "audio"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}]}, "functions"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}, {}]}]}, r"messages\[0\].*'type'"),
        ({"messages": 7}, "messages"),
        ({"tools": [7]}, "tools"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_name(body: dict[str, Any], named: str) -> None:
    """
    A parameter that changes the answer is never left out, and a wrong message is named with its place.
    """
    with pytest.raises(BadRequest, match=named):
        written(ASKED | body)


def test_an_agent_brings_its_model() -> None:
    """
    Who is asked is either a model or an agent, and not both.
    """
    out = written(ASKED | {"agent": "deep-research-pro", "background": True})

    assert ("deep-research-pro", True) == (out["agent"], out["background"])
    assert "model" not in out
    again = dialect.read_request("chat", out)
    assert "deep-research-pro" == again.body["agent"]
    assert out == json.loads(dialect.write_request(again.to("m"), PLAIN).body)


OWN: list[dict[str, Any]] = [
    {"model": "m", "input": [{"type": "user_input", "content": [{"type": "text", "text": "hi"}]}], "stream": True},
    {
        "model": "m",
        "system_instruction": "be brief",
        "input": [
            {"type": "user_input", "content": [
                {"type": "image", "data": PNG, "mime_type": "image/png"},
                {"type": "image", "uri": "https://x/y"},
                {"type": "document", "uri": "https://x/z", "mime_type": "application/pdf"},
                {"type": "image", "data": PNG, "mime_type": "image/png", "resolution": "low"},
            ]},
            {"type": "thought", "signature": "s", "summary": [{"type": "text", "text": "hm"}]},
            {"type": "model_output", "content": [{"type": "text", "text": "well"}]},
            {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
            {"type": "function_call", "id": "c2", "name": "f", "arguments": {}},
            {"type": "function_result", "call_id": "c1", "name": "f", "result": "42"},
            {"type": "function_result", "call_id": "c2", "name": "f", "result": [{"type": "text", "text": "a"}, {"type": "image", "data": PNG, "mime_type": "image/png"}], "is_error": True},
            {"type": "google_search_call", "id": "g", "arguments": {"queries": ["q"]}},
            {"type": "google_search_result", "call_id": "g", "result": [{"url": "u"}]},
            {"type": "model_output", "content": [{"type": "text", "text": "so", "annotations": [{"type": "url_citation", "url": "u"}]}]},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "url_context"}],
        "generation_config": {"temperature": 1, "thinking_level": "low", "tool_choice": "auto"},
        "response_format": {"type": "text", "mime_type": "application/json", "schema": {"title": "A b"}},
        "service_tier": "flex",
    },
]  # fmt: skip


@pytest.mark.parametrize("body", OWN)
def test_a_request_of_googles_passes_through_openais_shape(body: dict[str, Any]) -> None:
    """
    What was asked in Google's words, read into OpenAI's shape and written again, is asked in the same words.
    """
    request = dialect.read_request("chat", body)
    plain = Request("chat", request.model, json.loads(json.dumps(request.body)), request.stream)

    assert body == json.loads(dialect.write_request(plain, PLAIN).body)


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ("hi", [{"role": "user", "content": "hi"}]),
        ({"type": "text", "text": "hi"}, [{"role": "user", "content": "hi"}]),
        (
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        ),
        (
            [{"role": "user", "content": "a"}, {"role": "model", "content": [{"type": "text", "text": "b"}]}, {"role": "user", "content": "c"}],
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
        ),
        (
            [{"type": "function_call", "id": "i", "name": "f", "arguments": {}}, {"type": "function_result", "name": "f", "result": {"a": 1}}],
            [
                {"role": "assistant", "content": None, "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "i", "content": '{"a":1}'},
            ],
        ),
        ([], []),
    ],
)  # fmt: skip
def test_an_input_may_be_written_in_many_ways(given: Any, messages: Any) -> None:
    """
    A text, contents, turns with roles and steps are all messages.
    """
    read_again = dialect.read_request("chat", {"model": "m", "input": given}).body["messages"]
    without_steps = [
        {name: value for name, value in message.items() if name != "extra_content"} for message in read_again
    ]

    assert messages == without_steps


def test_what_is_no_request_is_refused() -> None:
    """
    What is not of Google's shape is no request.
    """
    for body in ({"input": [7]}, {"input": [{"type": "function_result"}]}, {"input": [], "tools": 7}):
        with pytest.raises(BadRequest):
            assert dialect.read_request("chat", body).body


# --- answers ----------------------------------------------------------------------------------------------------------


USAGE = {"total_input_tokens": 5, "total_output_tokens": 2, "total_thought_tokens": 3, "total_cached_tokens": 1,
         "total_tool_use_tokens": 4, "total_tokens": 14,
         "input_tokens_by_modality": [{"modality": "text", "tokens": 2}, {"modality": "audio", "tokens": 3}]}  # fmt: skip
STEPS: list[dict[str, Any]] = [
    {"type": "thought", "signature": "s", "summary": [{"type": "text", "text": "hm"}]},
    {"type": "model_output", "content": [
        {"type": "text", "text": "Hi", "annotations": [{"type": "url_citation", "url": "https://a"}, {"type": "place_citation", "name": "b"}]},
    ]},
    {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
]  # fmt: skip


def interaction(**more: Any) -> dict[str, Any]:
    return {
        "id": "v1_a",
        "object": "interaction",
        "model": MODEL,
        "status": "completed",
        "created": "2026-05-13T20:35:38Z",
    } | more


def test_an_answer_is_read() -> None:
    """
    Text, thoughts, calls, citations and counts stand where OpenAI has them.
    """
    answer = read(interaction(status="requires_action", steps=STEPS, usage=USAGE))

    assert ("Hi", "hm", "tool_calls") == (answer.text, answer.reasoning, answer.finish_reason)
    assert [ToolCall("c1", "f", '{"a":1}')] == answer.tool_calls
    assert ["https://a"] == answer.citations
    assert Usage(9, 5, 1, None, 3, 3) == answer.usage
    assert ("v1_a", MODEL, 1778704538, "requires_action") == (
        answer.id,
        answer.model,
        answer.created,
        answer.choices[0].native_finish_reason,
    )


@pytest.mark.parametrize(
    ("status", "finish"),
    [
        ("completed", "stop"),
        ("incomplete", "length"),
        ("budget_exceeded", "length"),
        ("requires_continuation", "length"),
        ("cancelled", "stop"),
        ("in_progress", None),
        ("queued", None),
        ("something_new", "stop"),
    ],
)
def test_a_status_is_a_reason(status: str, finish: str | None) -> None:
    """
    How an interaction stands says how the answer ended; one that goes on has not ended.
    """
    answer = read(interaction(status=status, steps=[STEPS[1]]))

    assert finish == answer.finish_reason
    assert (None if finish is None else status) == answer.choices[0].native_finish_reason
    assert Usage() == answer.usage


def test_a_completed_interaction_with_a_call_has_called() -> None:
    """
    Whatever its status, an answer that calls a tool ends for that.
    """
    assert "tool_calls" == read(interaction(steps=STEPS[2:])).finish_reason


def test_an_answer_of_the_older_kind_is_read() -> None:
    """
    Outputs without steps around them say the same.
    """
    outputs = [
        {"type": "thought", "signature": "s"},
        {"type": "text", "text": "Hi", "annotations": [{"url": "https://a"}]},
        STEPS[2],
    ]
    answer = read(interaction(outputs=outputs))

    assert ("Hi", ["https://a"], "tool_calls") == (answer.text, answer.citations, answer.finish_reason)
    assert ["f"] == [call.name for call in answer.tool_calls]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (interaction(status="failed", errors=[{"code": "INTERNAL", "message": "broke"}]), UpstreamError, "broke"),
        (interaction(status="failed"), UpstreamError, "failed"),
        ({"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}, RateLimited, "slow"),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT", "details": [
            {"@type": "x", "reason": "API_KEY_INVALID"}]}}], AuthenticationFailed, "not valid"),
    ],
)  # fmt: skip
def test_a_failure_is_no_answer(body: Any, kind: type[GatewayError], said: str) -> None:
    """
    An interaction that failed raises what it says, and so does an error in its place, whole or as a stream.
    """
    with pytest.raises(kind, match=said):
        read(body)
    if "status" not in body:
        with pytest.raises(kind, match=said):
            read_stream(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body", [{}, [], 7, {"status": "completed", "steps": [{}]}, {"status": "completed", "steps": 7}]
)
def test_what_is_no_answer_is_told(body: Any) -> None:
    """
    JSON of another shape, and what is no JSON, is an error and no crash.
    """
    with pytest.raises(ProtocolError):
        read(body)
    with pytest.raises(ProtocolError):
        dialect.read_response(Request("chat", MODEL), b"<html>", PLAIN)
    with pytest.raises(ProtocolError):
        read_stream(b"<html>")


def test_the_next_turn_gives_back_what_the_model_said() -> None:
    """
    Signed thoughts and what ran at Google's go out again as they came, as long as the message says what it said.
    """
    answer = read(interaction(status="requires_action", steps=STEPS))
    question = {"role": "user", "content": "?"}

    assert STEPS == written({"messages": [question, answer.message]})["input"][1:]
    changed = answer.message | {"content": "Hello"}
    assert [
        {"type": "model_output", "content": [{"type": "text", "text": "Hello"}]},
        STEPS[2],
    ] == written({"messages": [question, changed]})["input"][1:]
    plain = read(interaction(steps=[{"type": "model_output", "content": [{"type": "text", "text": "Hi"}]}]))
    assert {"role": "assistant", "content": "Hi"} == plain.message


# --- streams ----------------------------------------------------------------------------------------------------------


def lifecycle(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "event_type": f"interaction.{kind}",
        "interaction": {"id": "v1_a", "model": MODEL, "object": "interaction"} | more,
    }


def step(kind: str, index: int, **more: Any) -> dict[str, Any]:
    return {"event_type": f"step.{kind}", "index": index} | more


STREAM: list[dict[str, Any]] = [
    lifecycle("created", status="in_progress"),
    {"event_type": "interaction.status_update", "interaction_id": "v1_a", "status": "in_progress"},
    step("start", 0, step={"type": "thought"}),
    step("delta", 0, delta={"type": "thought_summary", "content": {"type": "text", "text": "hm"}}),
    step("delta", 0, delta={"type": "thought_signature", "signature": ""}),
    step("delta", 0, delta={"type": "thought_signature", "signature": "s"}),
    step("delta", 0, delta={"type": "thought_signature", "signature": ""}),
    step("stop", 0),
    step("start", 1, step={"type": "model_output"}),
    step("delta", 1, delta={"type": "text", "text": "H"}),
    step("delta", 1, delta={"type": "text", "text": "i"}),
    step("delta", 1, delta={"type": "text_annotation_delta", "annotations": STEPS[1]["content"][0]["annotations"]}),
    step("stop", 1),
    step("start", 2, step={"type": "function_call", "id": "c1", "name": "f", "arguments": {}}),
    step("delta", 2, delta={"type": "arguments_delta", "arguments": '{"a":'}),
    step("delta", 2, delta={"type": "arguments_delta", "arguments": "1}"}),
    step("stop", 2),
    lifecycle("completed", status="requires_action", usage=USAGE),
]  # fmt: skip


def test_a_stream_says_what_the_whole_answer_says() -> None:
    """
    Folded, it is the answer that would have come at once, and it is over with the event that says how it ended.
    """
    whole = read(interaction(status="requires_action", steps=STEPS, usage=USAGE))
    chunks = read_stream(sse(*STREAM) + b"data: {not read any more\n\n")

    assert whole == fold(chunks)
    assert STREAM == [chunk.raw for chunk in chunks]
    assert [("c1", "f", ""), ("", "", '{"a":'), ("", "", "1}")] == [
        (call.id, call.name, call.arguments) for chunk in chunks for call in chunk.tool_calls
    ]


def test_a_stream_of_the_older_kind_is_read() -> None:
    """
    Contents in place of steps, whole calls in one piece and an older name of the end mean the same.
    """
    answer = folded(
        lifecycle("start", status="in_progress"),
        {"event_type": "content.start", "index": 0, "content": {"type": "text", "text": "H"}},
        {"event_type": "content.delta", "index": 0, "delta": {"type": "text", "text": "i"}},
        {"event_type": "content.delta", "index": 0, "delta": {"type": "text_annotation_delta", "annotations": [{"url": "https://a"}]}},
        {"event_type": "content.stop", "index": 0},
        {"event_type": "content.start", "index": 1, "content": {"type": "function_call"}},
        {"event_type": "content.delta", "index": 1, "delta": {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}}},
        {"event_type": "content.stop", "index": 1},
        {"event_type": "interaction.complete", "interaction": {"id": "v1_a", "usage": {"total_input_tokens": 5}}},
    )  # fmt: skip

    assert ("Hi", ["https://a"], "tool_calls", 5) == (
        answer.text,
        answer.citations,
        answer.finish_reason,
        answer.usage.input_tokens,
    )
    assert [ToolCall("c1", "f", '{"a":1}')] == answer.tool_calls


def test_what_else_a_step_brings_is_kept() -> None:
    """
    An image and the steps of Google's tools come in pieces, and go back whole in the next turn.
    """
    answer = folded(
        lifecycle("created", status="in_progress"),
        step("start", 0, step={"type": "google_search_call", "id": "g"}),
        step("delta", 0, delta={"type": "google_search_call", "arguments": {"queries": ["q"]}, "signature": "s"}),
        step("stop", 0),
        step("start", 1, step={"type": "model_output", "content": [{"type": "text", "text": "Look: "}]}),
        step("delta", 1, delta={"type": "image", "data": PNG, "mime_type": "image/png"}),
        step("delta", 1, delta={"type": "text", "text": "nice"}),
        step("stop", 1),
        lifecycle("completed", status="completed"),
    )

    assert "Look: nice" == answer.text
    assert answer == streamed([Chunk(whole=answer)])
    steps = answer.message["extra_content"]["google"]["steps"]
    assert {"queries": ["q"]} == steps[0]["arguments"]
    assert ["text", "image", "text"] == [part["type"] for part in steps[1]["content"]]


def test_a_stream_means_the_same_wherever_it_is_cut() -> None:
    """
    Cut in two anywhere, or into single bytes, a stream gives the same chunks.
    """
    body = sse(*STREAM)
    whole = read_stream(body)

    for at in range(len(body)):
        assert whole == read_stream(body[:at], body[at:])
    assert whole == read_stream(*(body[at : at + 1] for at in range(len(body))))


def test_a_stream_without_its_end_is_no_answer() -> None:
    """
    Nothing but the end of the interaction ends a stream, neither the end of a step nor `done`.
    """
    for kept in range(len(STREAM)):
        with pytest.raises(StreamInterrupted):
            read_stream(sse(*STREAM[:kept]))


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"event_type": "error", "error": {"code": "UNAVAILABLE", "message": "busy"}}, Overloaded),
        ({"event_type": "error", "error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}, Overloaded),
        (lifecycle("failed", status="failed", errors=[{"code": "x", "message": "busy"}]), UpstreamError),
        ({"event_type": "error"}, ProtocolError),
        (step("delta", 7, delta={"type": "text", "text": "x"}), ProtocolError),
        (step("start", 7), ProtocolError),
    ],
)
def test_an_error_in_a_stream_comes_after_what_was_said(event: dict[str, Any], kind: type[GatewayError]) -> None:
    """
    What came before is given out, and then the error is raised for as long as somebody asks.
    """
    reader = dialect.reader(Request("chat", MODEL, {}, True), PLAIN)

    assert 10 == len(reader.feed(sse(*STREAM[:10], event, STREAM[-1])))
    for _ in range(2):
        with pytest.raises(kind):
            reader.feed(b"data: {}\n\n")
    with pytest.raises(kind):
        reader.end()


@pytest.mark.parametrize("native", [None, "requires_action"])
def test_a_written_answer_is_read_as_it_was(native: str | None) -> None:
    """
    What Google would send is what was to be said, whole as well as streamed, also from another upstream.
    """
    answer = Response(
        id="v1_a", model=MODEL, usage=Usage(5, 4, 1, None, 2, 3),
        choices=[Choice(0, "Hi", "hm", [ToolCall("c1", "f", '{"a":1}')], None, ["https://a"], "tool_calls", native)],
    )  # fmt: skip
    told = read(dialect.write_response(answer))
    extra = told.choices[0].extra
    wanted = answer.choices[0]

    assert (answer.id, answer.model, answer.usage) == (told.id, told.model, told.usage)
    for again in (told, streamed(explode(answer)), streamed([Chunk(whole=answer)])):
        choice = again.choices[0]
        assert (wanted.text, wanted.reasoning, wanted.tool_calls, wanted.citations, wanted.finish_reason) == (
            choice.text, choice.reasoning, choice.tool_calls, choice.citations, choice.finish_reason,
        )  # fmt: skip
        assert answer.usage == again.usage
        assert extra == choice.extra


def streamed(pieces: list[Chunk]) -> Response:
    writer = dialect.writer(Request("chat", MODEL, {}, True))
    answer = fold(read_stream(b"".join([*(writer.feed(piece) for piece in pieces), writer.end()])))
    assert isinstance(answer, Response)
    return answer


def test_what_the_next_turn_needs_is_written_into_the_stream() -> None:
    """
    Signatures, searches and images stand in a stream where they stood, in pieces as well as at once.
    """
    search = {"type": "google_search_call", "id": "g", "arguments": {"queries": ["q"]}}
    image = {"type": "model_output", "content": [{"type": "image", "data": PNG, "mime_type": "image/png"}]}
    whole = read(
        interaction(status="requires_action", steps=[STEPS[0], search, STEPS[1], image, STEPS[2]], usage=USAGE)
    )
    pieces = read_stream(sse(*STREAM[:11], *STREAM[12:]))

    assert whole.message == streamed([Chunk(whole=whole)]).message
    assert fold(pieces) == streamed(pieces)


def test_other_endings_are_written() -> None:
    """
    A refusal is said, an error is an event, and of several choices the first one counts.
    """
    writer = dialect.writer(Request("chat", MODEL, {}, True))
    pieces = [Chunk(refusal="no"), Chunk("b", index=1), Chunk(finish_reason="length")]
    answer = fold(read_stream(b"".join([*(writer.feed(piece) for piece in pieces), writer.end()])))

    assert ("no", "length") == (answer.text, answer.finish_reason)  # type: ignore[attr-defined]
    with pytest.raises(ModelNotFound, match="gone"):
        read_stream(dialect.writer(Request("chat", MODEL, {}, True)).error(ModelNotFound("model gone")))
    with pytest.raises(BadRequest):
        writer.feed(Chunk(whole=Embeddings()))


def test_the_rest_is_geminis() -> None:
    """
    Embeddings and lists of models are those of the Gemini API.
    """
    embed = dialect.write_request(Request("embed", "gemini-embedding-001", {"input": "a"}), PLAIN)
    models = dialect.read_response(Request("models"), b'{"models": [{"name": "models/a"}]}', PLAIN)

    assert embed.path.endswith(":batchEmbedContents")
    assert isinstance(models, Models)
    assert ["a"] == [model.id for model in models]
    assert {"models"} == dialect.write_response(models).keys()


# --- recorded ---------------------------------------------------------------------------------------------------------


RECORDS = [record for record in corpus.lines("gemini") if record["kind"] == "interactions"]


def answer_of(record: Record) -> Response:
    body = body_of(record)
    answer = fold(read_stream(body)) if record["streaming"] else read(json.loads(body))
    assert isinstance(answer, Response)
    return answer


def sent(record: Record) -> dict[str, Any]:
    """The interaction as it stands at its end; of a stream without its steps."""
    if not record["streaming"]:
        found: dict[str, Any] = json.loads(record["response_body"])
        return found
    events = [line[len("data: ") :] for line in record["response_body"].splitlines() if line.startswith("data: {")]
    last: dict[str, Any] = json.loads(events[-1])["interaction"]
    return last


@corpus.needed
@pytest.mark.parametrize("record", params(RECORDS))
def test_recorded_answers_say_what_was_said(record: Record) -> None:
    """
    Text and counts of a recorded interaction are those that stand in it, and all that was counted is accounted for.
    """
    answer, whole = answer_of(record), sent(record)
    counts = whole.get("usage")

    assert (whole["id"], whole.get("model") or whole["agent"]) == (answer.id, answer.model)
    if counts is not None:
        assert counts["total_tokens"] == answer.usage.total_tokens
        assert counts["total_thought_tokens"] == answer.usage.reasoning_tokens
    for step in whole.get("steps", ()):
        for part in step.get("content", ()):
            assert part["text"] in answer.text
    assert (whole["status"] != "in_progress") == (answer.finish_reason is not None)
    assert (answer.text or answer.tool_calls) or whole["status"] == "in_progress"


@corpus.needed
@pytest.mark.parametrize("record", params(record for record in RECORDS if record["streaming"]))
def test_recorded_streams_mean_the_same_wherever_they_are_cut(record: Record) -> None:
    """
    Cut in two anywhere, or into single bytes, a stream gives the same chunks, each with its event.
    """
    body = body_of(record)
    whole = read_stream(body)

    for at in range(0, len(body), 1 + len(body) // 100):
        assert whole == read_stream(body[:at], body[at:])
    assert whole == read_stream(*(body[at : at + 1] for at in range(len(body))))
    assert [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")] == [c.raw for c in whole]


@corpus.needed
@pytest.mark.parametrize("record", params(RECORDS))
def test_recorded_answers_are_written_as_googles_sdk_reads_them(record: Record) -> None:
    """
    Written again, a recorded answer is an interaction to Google's SDK, and reads as it did; so do its events.
    """
    interactions = pytest.importorskip("google.genai._gaos.types.interactions")
    from pydantic import TypeAdapter

    answer = answer_of(record)
    body = dialect.write_response(answer)
    found = interactions.Interaction.model_validate(body)

    assert (
        body["steps"] == [step.model_dump(exclude_none=True, mode="json") for step in found.steps or []]
        or answer.citations
    )
    again = read(body)
    assert (answer.text, answer.reasoning, answer.tool_calls, answer.usage) == (
        again.text, again.reasoning, again.tool_calls, again.usage,
    )  # fmt: skip
    writer = dialect.writer(Request("chat", MODEL, {}, True))
    written_again = b"".join([*(writer.feed(piece) for piece in explode(answer)), writer.end()])
    event = TypeAdapter(interactions.InteractionSSEEvent)
    for line in written_again.splitlines():
        if line.startswith(b"data: {"):
            assert not getattr(event.validate_python(json.loads(line[6:])), "is_unknown", False)
    refolded = fold(read_stream(written_again))
    assert (answer.text, answer.reasoning, answer.tool_calls) == (
        refolded.text,
        refolded.reasoning,
        refolded.tool_calls,
    )  # type: ignore[attr-defined]


@corpus.needed
@pytest.mark.parametrize("record", params(RECORDS))
def test_recorded_requests_ask_for_the_same_again(record: Record) -> None:
    """
    A recorded request goes to the same address again, and read again it asks for the same.
    """
    given = record["request_json"]
    request = dialect.read_request("chat", given)
    plain = Request("chat", request.model, json.loads(json.dumps(request.body)), request.stream)
    out = dialect.write_request(plain, PLAIN)

    assert record["url"].partition("?")[0].endswith(out.path.partition("?")[0])
    told = json.loads(out.body)
    assert {"stream": False} | given | {"input": 0} == {"stream": False} | told | {"input": 0}
    again = dialect.read_request("chat", told)
    assert (request.model, request.body, request.stream) == (again.model, again.body, again.stream)
