"""How a chat is asked for in Anthropic's Messages, promise by promise."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from anthropic.types import (
    DocumentBlockParam,
    ImageBlockParam,
    MessageParam,
    TextBlockParam,
    ToolParam,
)
from pydantic import TypeAdapter

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.anthropic_requests import ANSWER_TOKENS, HINTS, NEUTRAL, THINKING_TOKENS
from llmgate.dialects.base import Quirks
from llmgate.errors import (
    BadRequest,
)
from llmgate.types.request import Request
from llmgate.types.response import Choice

dialect = AnthropicMessages()
PLAIN = Quirks()
OLD, NEW = "claude-sonnet-4-5", "claude-opus-5"

Json = dict[str, Any]


def written(model: str = OLD, **body: Any) -> Json:
    body.setdefault("messages", [{"role": "user", "content": "Hello"}])
    return json.loads(dialect.write_request(Request("chat", model, body), PLAIN).body)  # type: ignore[no-any-return]


def turns(*messages: Json) -> list[Json]:
    sent: list[Json] = written(messages=list(messages))["messages"]
    TypeAdapter(list[MessageParam]).validate_python(sent)
    return sent


def user(content: Any, **more: Any) -> Json:
    return {"role": "user", "content": content, **more}


def call(id: str = "t1", name: str = "look", arguments: str = "{}", **more: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def part(**part: Any) -> Json:
    """What becomes of one part of a user's message."""
    [block] = turns(user([part]))[0]["content"]
    return block  # type: ignore[no-any-return]


def test_a_chat_goes_to_messages_with_its_version() -> None:
    """
    A chat is a POST to /messages with the version that still takes sampling parameters.
    """
    sent = dialect.write_request(
        Request("chat", "m", {"messages": [user("Hi")], "temperature": 0.5}, stream=True), PLAIN
    )

    assert ("POST", "/messages") == (sent.method, sent.path)
    assert [("anthropic-version", "2023-06-01")] == sent.headers
    assert {
        "model": "m",
        "temperature": 0.5,
        "messages": [user("Hi")],
        "max_tokens": ANSWER_TOKENS,
        "stream": True,
    } == json.loads(sent.body)


def test_system_messages_become_the_system() -> None:
    """
    One system message is the system; several, developer's too, are its blocks, wherever they stand.
    """
    one = {"role": "system", "content": "Be brief."}
    two = {"role": "developer", "content": "Be kind."}

    assert "Be brief." == written(messages=[one, user("Hi")])["system"]
    both = written(messages=[one, user("Hi"), two, user("there")])
    assert [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}] == both["system"]
    TypeAdapter(list[TextBlockParam]).validate_python(both["system"])
    assert [user([{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}])] == both["messages"]


def test_a_tool_addition_stays_where_it_stands() -> None:
    """
    A system message that holds more than text is Anthropic's own and keeps its place.
    """
    addition = {
        "role": "system",
        "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}],
    }

    assert [user("Hi"), addition] == written(messages=[user("Hi"), addition])["messages"]


def test_calls_and_their_results_become_blocks() -> None:
    """
    Calls follow the text of their message; results in a row, and what the user says after them, are one turn of the user.
    """
    sent = turns(
        user("Weather?"),
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [call("a", "w", '{"at":"Rome"}'), call("b", "w", "")],
        },
        {"role": "tool", "tool_call_id": "a", "content": "sunny"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "rain"}], "is_error": True},
        user("So?"),
    )

    assert [
        user("Weather?"),
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "a", "name": "w", "input": {"at": "Rome"}},
                {"type": "tool_use", "id": "b", "name": "w", "input": {}},
            ],
        },
        user(
            [
                {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
                {
                    "type": "tool_result",
                    "tool_use_id": "b",
                    "content": [{"type": "text", "text": "rain"}],
                    "is_error": True,
                },
                {"type": "text", "text": "So?"},
            ]
        ),
    ] == sent


@pytest.mark.parametrize("arguments", ['{"at": "Ro', "[1]", "hello"])
def test_arguments_that_are_no_object_are_wrapped(arguments: str) -> None:
    """
    Arguments that are not a JSON object are sent as Anthropic asks for them, so the conversation can go on.
    """
    [_, said] = turns(user("?"), {"role": "assistant", "tool_calls": [call(arguments=arguments)]})

    assert {"INVALID_JSON": arguments} == said["content"][0]["input"]


def test_ids_of_other_upstreams_are_made_acceptable() -> None:
    """
    A call id that Anthropic would refuse is changed, in the call and in its result alike.
    """
    sent = turns(
        user("?"),
        {"role": "assistant", "content": None, "tool_calls": [call("functions.look:0")]},
        {"role": "tool", "tool_call_id": "functions.look:0", "content": "x"},
    )

    assert "functions_look_0" == sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"]


def test_a_turn_without_words_is_left_out() -> None:
    """
    An assistant that said nothing, and empty texts beside others, are left out, because Anthropic refuses them.
    """
    empty = {"type": "text", "text": ""}

    assert [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])] == turns(
        user("a"), {"role": "assistant", "content": ""}, user([empty, {"type": "text", "text": "b"}])
    )


def test_a_refusal_is_what_the_assistant_said() -> None:
    """
    OpenAI's refusal, as a key of the message or as a part, goes back as text.
    """
    said = [{"type": "text", "text": "No."}]

    assert said == turns(user("?"), {"role": "assistant", "content": None, "refusal": "No."})[1]["content"]
    assert (
        said
        == turns(user("?"), {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})[1]["content"]
    )


def test_thinking_comes_back_in_front() -> None:
    """
    The thinking blocks of an answer go back first and unchanged; reasoning without them is left out.
    """
    thinking = [
        {"type": "thinking", "thinking": "hm", "signature": "s="},
        {"type": "redacted_thinking", "data": "x="},
    ]
    answer = Choice(text="Yes.", reasoning="hm", extra={"thinking_blocks": thinking}).message

    assert [*thinking, {"type": "text", "text": "Yes."}] == turns(user("?"), answer)[1]["content"]
    assert "Yes." == turns(user("?"), Choice(text="Yes.", reasoning="hm").message)[1]["content"]


def test_images_are_sent_by_address_or_by_value() -> None:
    """
    An image's address stays an address, a data: URL becomes its bytes, and marks beside it are kept.
    """
    mark = {"type": "ephemeral"}
    by_url = part(type="image_url", image_url={"url": "https://x.test/a.png", "detail": "low"}, cache_control=mark)
    by_value = part(type="image_url", image_url={"url": "data:image/png;base64,iVBO"})

    assert {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}, "cache_control": mark} == by_url
    assert {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}} == by_value
    for block in (by_url, by_value):
        TypeAdapter(ImageBlockParam).validate_python(block)
    svg = part(type="image_url", image_url={"url": "data:image/svg+xml,%3Csvg/%3E"})
    assert b64encode(b"<svg/>").decode() == svg["source"]["data"]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            {"file_data": "data:application/pdf;base64,JVBE"},
            {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        ),
        ({"file_data": "JVBE"}, {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}),
        ({"file_data": "data:text/plain;base64,SGk="}, {"type": "text", "media_type": "text/plain", "data": "Hi"}),
        ({"file_data": "data:text/csv,a%2Cb"}, {"type": "text", "media_type": "text/plain", "data": "a,b"}),
        ({"file_data": "https://x.test/a.pdf"}, {"type": "url", "url": "https://x.test/a.pdf"}),
        ({"file_id": "file_1"}, {"type": "file", "file_id": "file_1"}),
    ],
)
def test_files_become_documents(file: Json, source: Json) -> None:
    """
    A file part, by value, address or id, is a document with its name for a title.
    """
    block = part(type="file", file={**file, "filename": "a.pdf"})

    assert {"type": "document", "source": source, "title": "a.pdf"} == block
    TypeAdapter(DocumentBlockParam).validate_python(block)


def test_a_file_that_is_an_image_becomes_one() -> None:
    """
    An image that came as a file is an image.
    """
    assert "image" == part(type="file", file={"file_data": "data:image/png;base64,iVBO", "filename": "a.png"})["type"]


def test_blocks_of_anthropics_own_pass() -> None:
    """
    A content block that OpenAI does not know is sent as it is.
    """
    block = {
        "type": "search_result",
        "source": "https://x.test",
        "title": "t",
        "content": [{"type": "text", "text": "x"}],
    }

    assert block == part(**block)


def test_cache_marks_are_kept() -> None:
    """
    A cache mark inside a part stays there; one beside a message's content goes to its last block.
    """
    mark = {"type": "ephemeral", "ttl": "1h"}
    marked = {"type": "text", "text": "b", "cache_control": mark}
    sent = written(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "a"}, marked]},
            user("b", cache_control=mark),
            {"role": "assistant", "content": None, "tool_calls": [call("t", cache_control=mark)]},
            {"role": "tool", "tool_call_id": "t", "content": "x", "cache_control": mark},
        ],
        tools=[{"type": "function", "function": {"name": "look"}, "cache_control": mark}],
    )

    assert [{"type": "text", "text": "a"}, marked] == sent["system"]
    assert [marked] == sent["messages"][0]["content"]
    assert [mark, mark] == [turn["content"][0]["cache_control"] for turn in sent["messages"][1:]]
    assert mark == sent["tools"][0]["cache_control"]


def test_tools_are_described_by_their_input() -> None:
    """
    A function's parameters become the schema of the input, with the type that Anthropic wants said.
    """
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    full = {"name": "f", "description": "d", "parameters": schema, "strict": True}
    sent = written(
        tools=[{"type": "function", "function": function} for function in (full, {"name": "g", "strict": None})]
    )

    assert [
        {"name": "f", "description": "d", "input_schema": schema, "strict": True},
        {"name": "g", "input_schema": {"type": "object"}},
    ] == sent["tools"]
    TypeAdapter(list[ToolParam]).validate_python(sent["tools"])


def test_tools_of_anthropics_own_pass() -> None:
    """
    A tool that runs at Anthropic's, or is written in Anthropic's way, is sent as it is.
    """
    tools = [{"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {"type": "object"}}]

    assert tools == written(tools=tools)["tools"]


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "any"}}, {"type": "any"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "required"}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
    ],
)
def test_the_choice_of_a_tool(asked: Json, choice: Json | None) -> None:
    """
    Every way to choose a tool, and to have one at a time, has its words.
    """
    assert choice == written(tools=[TOOL], **asked).get("tool_choice")


def test_nothing_is_chosen_where_there_are_no_tools() -> None:
    """
    Without tools, choosing none or freely is not said, because Anthropic refuses to hear of it.
    """
    assert "tool_choice" not in written(tool_choice="auto", parallel_tool_calls=False)


def test_small_translations() -> None:
    """
    Stops, the user and the service tier have other names.
    """
    sent = written(stop="END", user="u1", service_tier="default", metadata=None)

    assert ["END"] == sent["stop_sequences"]
    assert {"user_id": "u1"} == sent["metadata"]
    assert "standard_only" == sent["service_tier"]
    assert ["a", "b"] == written(stop=["a", "b"])["stop_sequences"]
    assert {"user_id": "s1"} == written(safety_identifier="s1")["metadata"]


def test_parameters_of_anthropics_own_pass() -> None:
    """
    What only Anthropic knows is sent as it is; betas go into their header.
    """
    own = {
        "top_k": 5,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "container": "c",
        "mcp_servers": [{"type": "url", "url": "https://x.test", "name": "x"}],
        "metadata": {"user_id": "u"},
        "cache_control": {"type": "ephemeral"},
        "something_new": {"a": 1},
    }
    sent = written(**own)
    request = Request("chat", "m", {"messages": [user("Hi")], "betas": ["a-1", "b-2"]})

    assert own == {name: sent[name] for name in own}
    headers = dialect.write_request(request, PLAIN).headers
    assert ("anthropic-beta", "a-1,b-2") == headers[-1]
    assert "betas" not in json.loads(dialect.write_request(request, PLAIN).body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"50256": -100}),
        ("seed", 0),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -0.5),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("store", True),
        ("verbosity", "low"),
        ("web_search_options", {}),
        ("moderation", {"model": "omni"}),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(name: str, value: Any) -> None:
    """
    A parameter that Messages cannot express is refused by its name, unless its value asks for nothing.
    """
    with pytest.raises(BadRequest, match=f"^{name}: the Messages API cannot express it"):
        written(**{name: value})
    for neutral in (*NEUTRAL[name], None):
        assert name not in written(**{name: neutral})


def test_hints_are_left_out() -> None:
    """
    What only makes an answer faster or cheaper is not sent.
    """
    assert not HINTS & written(**{name: {"include_usage": True} for name in HINTS}).keys()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "allowed_tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "custom"),
        ({"tools": ["x"]}, r"^tools\[0\]:"),
        ({"tools": [{"type": "function", "function": {"parameters": {}}}], "max_tokens": 5, "stop": "x"}, r"^tools\[0\]: .name. is missing"),
        ({"messages": [user([{"type": "input_audio", "input_audio": {}}])]}, r"messages\[0\].*audio"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, r"messages\[0\].*role 'function'"),
        ({"messages": [user("a"), {"role": "tool", "content": "x"}]}, r"messages\[1\]: 'tool_call_id' is missing"),
        ({"messages": [user([{"text": "secret words"}])]}, r"messages\[0\]: content\[0\]: 'type' is missing"),
        ({"messages": [user([["secret words"]])]}, r"messages\[0\]: content\[0\]: it is not of the shape"),
        ({"messages": [user("?"), {"role": "assistant", "tool_calls": [{"id": "x", "type": "custom"}]}]}, r"messages\[1\].*custom"),
        ({"messages": [user("?"), {"role": "assistant", "function_call": {"name": "f"}}]}, r"messages\[1\].*function_call"),
        ({"messages": [user([{"type": "image_url", "image_url": {"url": "data:;base64,x"}}])]}, "media type"),
        ({"messages": [{"role": "system", "content": "alone"}]}, "^messages:"),
        ({"reasoning_effort": "enormous"}, "^reasoning_effort:"),
        ({"reasoning_effort": "high", "max_tokens": 1000}, "^reasoning_effort:.*1000"),
        ({"thinking": "yes"}, "^thinking:"),
    ],
)  # fmt: skip
def test_a_bad_request_is_named(body: Json, named: str) -> None:
    """
    What cannot be sent raises BadRequest that names it, and quotes nothing of what the user said.
    """
    with pytest.raises(BadRequest, match=named) as caught:
        written(**body)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("verb", ["embed", "complete"])
def test_there_are_no_other_verbs(verb: Any) -> None:
    """
    Embeddings and text completions are refused by name.
    """
    with pytest.raises(BadRequest, match=f"^{verb}: the Messages API has only chat"):
        dialect.write_request(Request(verb, "m", {"input": "x"}), PLAIN)


def test_other_requests() -> None:
    """
    The list of models is one large page; anything else passes as it is.
    """
    models = dialect.write_request(Request("models"), PLAIN)
    count = dialect.write_request(
        Request("request", body={"a": 1}, encoded=b'{"a":1}', path="/messages/count_tokens"), PLAIN
    )

    assert ("GET", "/models?limit=1000", b"") == (models.method, models.path, models.body)
    assert ("POST", "/messages/count_tokens", b'{"a":1}') == (count.method, count.path, count.body)
    assert [("anthropic-version", "2023-06-01")] == models.headers == count.headers


def test_quirks_of_a_compatible_upstream() -> None:
    """
    A row of the catalog renames, drops and redirects.
    """
    quirks = Quirks(rename={"max_tokens": "limit"}, drop=frozenset({"top_k"}), paths={"chat": "/v2/messages"})
    sent = dialect.write_request(Request("chat", "m", {"messages": [user("Hi")], "top_k": 1, "max_tokens": 7}), quirks)

    assert "/v2/messages" == sent.path
    assert {"model": "m", "messages": [user("Hi")], "limit": 7} == json.loads(sent.body)


# --- how long and how hard --------------------------------------------------------------------------------------------


def test_the_limit_of_the_output() -> None:
    """
    The caller's limit holds, by either name; without one there is a limit, and room to think where thought is.
    """
    assert 7 == written(max_tokens=7)["max_tokens"]
    assert 8 == written(max_tokens=7, max_completion_tokens=8)["max_tokens"]
    assert ANSWER_TOKENS == written()["max_tokens"]
    assert ANSWER_TOKENS + 3000 == written(thinking={"type": "enabled", "budget_tokens": 3000})["max_tokens"]
    assert ANSWER_TOKENS + THINKING_TOKENS["medium"] == written(NEW)["max_tokens"]
    assert ANSWER_TOKENS + THINKING_TOKENS["max"] == written(NEW, reasoning_effort="max")["max_tokens"]
    assert ANSWER_TOKENS == written(NEW, thinking={"type": "disabled"})["max_tokens"]


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-haiku-20240307", "claude-3-7-sonnet-20250219", "claude-3-7-sonnet@20250219", "anthropic/claude-3.7-sonnet",
        "claude-sonnet-4-0", "claude-sonnet-4-20250514", "us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-opus-4@20250514",
        "claude-4-opus-20250514", "claude-4.5-sonnet", "claude-opus-4-1-20250805", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5",
        "claude-haiku-4-5", "claude-opus-4-5-20251101", "claude-2.1", "glm-5", "deepseek-v4",
    ],
)  # fmt: skip
def test_models_that_think_up_to_a_budget(model: str) -> None:
    """
    Claudes before 4.6, and models that are no Claude, are given tokens to think for an effort.
    """
    sent = written(model, reasoning_effort="low")

    assert {"type": "enabled", "budget_tokens": THINKING_TOKENS["low"]} == sent["thinking"]
    assert "output_config" not in sent
    assert ANSWER_TOKENS + THINKING_TOKENS["low"] == sent["max_tokens"]
    assert "thinking" not in written(model, reasoning_effort="none")


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-4-6", "claude-sonnet-4-6", "anthropic/claude-opus-4.6", "us.anthropic.claude-opus-4-6-v1",
        "claude-opus-4-7", "claude-4.6-opus", "claude-opus-4-8-20260528", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5",
        "claude-fable-5-1", "claude-mythos-preview", "anthropic.claude-opus-5",
    ],
)  # fmt: skip
def test_models_that_think_by_effort(model: str) -> None:
    """
    Claudes since 4.6 are told the effort and decide for themselves.
    """
    sent = written(model, reasoning_effort="high")

    assert {"type": "adaptive"} == sent["thinking"]
    assert {"effort": "high"} == sent["output_config"]
    assert {"effort": "low"} == written(model, reasoning_effort="minimal")["output_config"]
    assert {"type": "disabled"} == written(model, reasoning_effort="none")["thinking"]


def test_thinking_fits_into_the_limit() -> None:
    """
    Where the caller set a limit, at most half of it is thought away, and never less than Anthropic wants.
    """
    assert 2500 == written(reasoning_effort="high", max_tokens=5000)["thinking"]["budget_tokens"]
    assert 1024 == written(reasoning_effort="high", max_tokens=1100)["thinking"]["budget_tokens"]


def test_the_callers_own_thinking_stays() -> None:
    """
    Whoever writes Anthropic's own `thinking` or effort keeps it.
    """
    own = {"type": "enabled", "budget_tokens": 5000}
    sent = written(
        NEW,
        thinking={"type": "adaptive", "display": "omitted"},
        reasoning_effort="low",
        output_config={"effort": "max"},
    )

    assert own == written(thinking=own, reasoning_effort="low")["thinking"]
    assert {"type": "adaptive", "display": "omitted"} == sent["thinking"]
    assert {"effort": "max"} == sent["output_config"]


def test_a_schema_for_the_answer() -> None:
    """
    A JSON schema becomes the format of the output; objects in it that were left open are closed, for Anthropic takes no others.
    """
    schema = {
        "type": "object",
        "properties": {
            "inner": {"type": "object", "properties": {"x": {"enum": [{"type": "object", "properties": {}}]}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "$defs": {"d": {"anyOf": [{"type": "object", "properties": {}}]}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": schema, "strict": True}}
    sent = written(NEW, response_format=form, reasoning_effort="low")["output_config"]

    assert {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "description": "d",
                "type": "object",
                "properties": {
                    "inner": {
                        "type": "object",
                        "properties": {"x": {"enum": [{"type": "object", "properties": {}}]}},
                        "additionalProperties": False,
                    },
                    "map": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "$defs": {"d": {"anyOf": [{"type": "object", "properties": {}, "additionalProperties": False}]}},
                "additionalProperties": False,
            },
        },
    } == sent
    assert "output_config" not in written(response_format={"type": "text"})


# --- requests of others -----------------------------------------------------------------------------------------------


def test_a_messages_request_is_read() -> None:
    """
    What a client of Anthropic's asks for is said as OpenAI says it.
    """
    request = dialect.read_request(
        "chat",
        {
            "model": "claude-x",
            "max_tokens": 10,
            "stream": True,
            "system": [{"type": "text", "text": "Be brief."}],
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u"},
            "service_tier": "standard_only",
            "thinking": {"type": "adaptive"},
            "output_config": {
                "effort": "high",
                "format": {"type": "json_schema", "schema": {"title": "The answer", "type": "object"}},
            },
            "tools": [
                {"name": "f", "description": "d", "input_schema": {"type": "object"}, "defer_loading": True},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "messages": [
                user([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]),
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "Let me see."},
                        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "ä"}},
                    ],
                },
                user(
                    [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "is_error": True,
                            "content": [{"type": "text", "text": "x"}],
                        },
                        {"type": "text", "text": "So?"},
                    ]
                ),
            ],
        },
    )

    assert ("chat", "claude-x", True) == (request.verb, request.model, request.stream)
    assert json.loads(request.encoded) == request.body
    schema = {"title": "The answer", "type": "object"}
    assert {
        "messages": [
            {"role": "system", "content": "Be brief."},
            user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]),
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [call("t", "f", '{"a":"ä"}')],
                "reasoning_content": "hm",
                "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
            },
            {"role": "tool", "tool_call_id": "t", "content": "x", "is_error": True},
            user("So?"),
        ],
        "max_tokens": 10,
        "stop": ["END"],
        "user": "u",
        "service_tier": "default",
        "thinking": {"type": "adaptive"},
        "reasoning_effort": "high",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "The_answer", "schema": schema, "strict": True},
        },
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object"}, "description": "d"},
                "defer_loading": True,
            },
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    } == request.body


def test_thinking_between_other_blocks_keeps_its_place() -> None:
    """
    Thinking that does not stand in front, and what ran at Anthropic's, come back in their order.
    """
    content = [
        {"type": "thinking", "thinking": "a", "signature": "s"},
        {"type": "server_tool_use", "id": "w", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "w", "content": []},
        {"type": "thinking", "thinking": "b", "signature": "t"},
        {"type": "text", "text": "So.", "citations": []},
    ]
    data = {"model": "m", "max_tokens": 1, "messages": [user("?"), {"role": "assistant", "content": content}]}
    request = dialect.read_request("chat", data).but()

    assert data == json.loads(dialect.write_request(request, PLAIN).body)


@pytest.mark.parametrize(
    "data", [{}, [], None, {"messages": [1], "model": "m"}, {"messages": [{"role": "user"}], "model": "m"}]
)
def test_what_is_no_messages_request_is_refused(data: Any) -> None:
    """
    A body of another shape is a bad request, not a crash.
    """
    with pytest.raises(BadRequest):
        dialect.read_request("chat", data).but()


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    """
    An object is closed wherever it stands, also in a property that is called `default` or `enum`.
    """
    inner = {"type": "object", "properties": {"x": {"type": "string"}}}
    schema = {"type": "object", "properties": {"default": inner, "enum": inner}, "default": {"properties": {}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    body = {"messages": [{"role": "user", "content": "hi"}], "response_format": form}
    written = json.loads(AnthropicMessages().write_request(Request("chat", "m", body), Quirks()).body)
    sent = written["output_config"]["format"]["schema"]

    assert inner | {"additionalProperties": False} == sent["properties"]["default"] == sent["properties"]["enum"]
    assert schema["default"] == sent["default"], "a value is no schema"
