"""What answers of Anthropic's Messages mean, promise by promise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import (
    Message,
    ModelInfo,
)

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.base import Quirks
from llmgate.errors import (
    BadRequest,
    Overloaded,
    ProtocolError,
)
from llmgate.types.request import Request
from llmgate.types.response import Choice, Embeddings, Model, Models, RawResponse, Response, ToolCall
from llmgate.types.usage import Usage

dialect = AnthropicMessages()
PLAIN = Quirks()

Json = dict[str, Any]


def read(**message: Any) -> Response:
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [], **message}
    answer = dialect.read_response(Request("chat", "m"), json.dumps(body).encode(), PLAIN)
    assert isinstance(answer, Response)
    return answer


def test_an_answer_is_read() -> None:
    """
    Texts are joined, thinking is kept whole, calls are calls unless they ran at Anthropic's, and addresses are cited once.
    """
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    cited = {"type": "web_search_result_location", "url": "https://x.test", "cited_text": "", "encrypted_index": ""}
    answer = read(
        content=[
            thinking,
            hidden,
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
            {
                "type": "text",
                "text": "It ",
                "citations": [cited, cited, {"type": "char_location", "document_index": 0}],
            },
            {"type": "text", "text": "rains."},
            {"type": "mcp_tool_use", "id": "m1", "name": "x", "input": {}, "server_name": "s"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"at": "Rome"}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            {"type": "of_tomorrow", "data": 1},
        ],
        stop_reason="tool_use",
    )

    assert "It rains." == answer.text
    assert "hm" == answer.reasoning
    assert {"thinking_blocks": [thinking, hidden]} == answer.choices[0].extra
    assert [ToolCall("t1", "f", '{"at":"Rome"}', 0), ToolCall("t2", "g", "{}", 1)] == answer.tool_calls
    assert ["https://x.test"] == answer.citations
    assert ("msg_1", "claude-x") == (answer.id, answer.model)
    assert answer.raw["content"][-1] == {"type": "of_tomorrow", "data": 1}


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"), ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"), ("tool_use", "tool_calls"), ("refusal", "content_filter"),
        ("of_tomorrow", "stop"), (None, None),
    ],
)  # fmt: skip
def test_every_end_has_a_reason(native: str | None, finish: str | None) -> None:
    """
    Anthropic's reasons have OpenAI's names, and are kept beside them.
    """
    choice = read(stop_reason=native).choices[0]

    assert (finish, native) == (choice.finish_reason, choice.native_finish_reason)


def test_tokens_are_counted_as_openai_counts() -> None:
    """
    Input holds what came from and went to the cache; iterations count no second time; what was not sent is unknown.
    """
    counts = {
        "input_tokens": 1,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 300,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "iterations": [{"type": "message", "input_tokens": 5000, "output_tokens": 5000}],
    }

    assert Usage(321, 9, 20, 300, 4) == read(usage=counts).usage
    assert Usage(None, 9) == read(usage={"output_tokens": 9}).usage
    assert Usage() == read().usage


def test_an_error_in_the_place_of_an_answer_is_raised() -> None:
    """
    An error that came with a good status is an error.
    """
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'

    with pytest.raises(Overloaded, match=r"^Overloaded$"):
        dialect.read_response(Request("chat"), body, PLAIN)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"7", b'{"content":[{}]}', b'{"content":"x"}'])
def test_what_is_no_answer_is_a_protocol_error(body: bytes) -> None:
    """
    A body that is no answer, or no JSON, says so.
    """
    with pytest.raises(ProtocolError):
        dialect.read_response(Request("chat"), body, PLAIN)


def test_models_are_read_and_written() -> None:
    """
    A list of models keeps names, windows and dates; an unknown date is unknown. Written again, the SDK knows them.
    """
    data = [
        {
            "type": "model",
            "id": "a",
            "display_name": "A",
            "created_at": "2025-11-24T00:00:00Z",
            "max_input_tokens": 200_000,
        },
        {"type": "model", "id": "b", "display_name": "B", "created_at": "1970-01-01T00:00:00Z"},
    ]
    answer = dialect.read_response(Request("models"), json.dumps({"data": data}).encode(), PLAIN)

    assert [
        Model("a", created=1763942400, owned_by="anthropic", context_window=200_000),
        Model("b", owned_by="anthropic"),
    ] == list(answer)  # type: ignore[call-overload]
    page = dialect.write_response(answer)
    assert ["a", "b"] == [ModelInfo.model_validate(model).id for model in page["data"]]
    assert (False, "a", "b") == (page["has_more"], page["first_id"], page["last_id"])
    assert {"data": [], "has_more": False, "first_id": None, "last_id": None} == dialect.write_response(Models())


def test_other_answers() -> None:
    """
    What passes through passes; embeddings have no words here.
    """
    assert b"x" == dialect.read_response(Request("request"), b"x", PLAIN).content  # type: ignore[attr-defined]
    assert {"input_tokens": 3} == dialect.write_response(RawResponse(content=b'{"input_tokens":3}'))
    with pytest.raises(BadRequest, match="Embeddings"):
        dialect.write_response(Embeddings())


def test_an_answer_of_another_upstream_is_written() -> None:
    """
    Reasoning without a signature, calls without ids, broken arguments, a refusal, and more cache than prompt are all Messages.
    """
    answer = Response(
        id="x",
        model="m",
        usage=Usage(input_tokens=5, output_tokens=None, cache_read_tokens=9, reasoning_tokens=2),
        choices=[
            Choice(
                text="a",
                reasoning="hm",
                refusal="No.",
                citations=["https://x.test"],
                finish_reason="stop",
                tool_calls=[ToolCall("", "f", '{"a":1}', 0), ToolCall("", "f", '{"a', 1)],
            )
        ],
    )
    message = Message.model_validate(written_answer := dialect.write_response(answer))

    assert ["thinking", "text", "text", "tool_use", "tool_use"] == [block.type for block in message.content]
    calls = written_answer["content"][3:]
    assert [{"a": 1}, {"INVALID_JSON": '{"a'}] == [call["input"] for call in calls]
    assert calls[0]["id"] != calls[1]["id"]
    assert calls == dialect.write_response(answer)["content"][3:]
    assert "refusal" == message.stop_reason
    assert (0, 0, 9) == (message.usage.input_tokens, message.usage.output_tokens, message.usage.cache_read_input_tokens)


@pytest.mark.parametrize(
    ("finish", "stop"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal"), (None, "end_turn")],
)  # fmt: skip
def test_other_reasons_have_anthropics_names(finish: str | None, stop: str) -> None:
    """
    The reason of another upstream is told in Anthropic's word.
    """
    answer = Response(choices=[Choice(finish_reason=finish, native_finish_reason="COMPLETE")])

    assert stop == dialect.write_response(answer)["stop_reason"]


def test_how_a_call_was_made_is_kept() -> None:
    """
    Who called, if it was not the model itself, and of which toolset, go through OpenAI's message and back.
    """
    own = {"caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}, "toolset_name": "browser"}
    direct = {"type": "tool_use", "id": "t1", "name": "f", "input": {}, "caller": {"type": "direct"}}
    answer = read(content=[direct, {"type": "tool_use", "id": "t2", "name": "f", "input": {}, **own}])

    assert [None, own] == [call.extra for call in answer.tool_calls]
    request = Request("chat", "m", {"messages": [{"role": "user", "content": "?"}, answer.message]})
    sent = json.loads(dialect.write_request(request, PLAIN).body)["messages"][1]["content"]
    assert dialect.write_response(answer)["content"] == sent
    assert own == {name: sent[1][name] for name in own}
