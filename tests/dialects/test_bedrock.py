"""Bedrock's Converse, promise by promise."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from typing import Any

import pytest

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.anthropic_requests import NEUTRAL
from llmgate.dialects.aws_frames import framed
from llmgate.dialects.base import Quirks
from llmgate.dialects.bedrock import Bedrock
from llmgate.dialects.bedrock_errors import TYPES
from llmgate.dialects.bedrock_requests import HINTS
from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
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
from llmgate.types.response import Choice, Chunk, Embeddings, RawResponse, Response, ToolCall, fold
from llmgate.types.usage import Usage

dialect = Bedrock()
PLAIN = Quirks()
CHAT, STREAMED = Request("chat", "m"), Request("chat", "m", stream=True)
CLAUDE, NOVA, GPT = (
    "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.amazon.nova-2-lite-v1:0",
    "openai.gpt-oss-120b-1:0",
)

Json = dict[str, Any]


@cache
def model() -> Any:
    """What Amazon says about its own API."""
    pytest.importorskip("botocore")
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


def written(to: str = "m", **body: Any) -> Json:
    """What is sent; held to Amazon's own model."""
    body.setdefault("messages", [{"role": "user", "content": "Hello"}])
    sent: Json = json.loads(dialect.write_request(Request("chat", to, body), PLAIN).body)
    from botocore.validate import ParamValidator

    shape = model().operation_model("Converse").input_shape
    assert "" == ParamValidator().validate(sent | {"modelId": to}, shape).generate_report()
    assert sent.keys() <= shape.members.keys()
    return sent


def turns(*messages: Json, to: str = "m") -> list[Json]:
    sent: list[Json] = written(to, messages=list(messages))["messages"]
    return sent


def user(content: Any, **more: Any) -> Json:
    return {"role": "user", "content": content, **more}


def call(id: str = "t1", name: str = "look", arguments: str = "{}") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls: Json) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(id: str = "t1", content: Any = "done", **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


def part(**part: Any) -> Json:
    """What becomes of one part of a user's message."""
    [block] = turns(user([part]))[0]["content"]
    return block  # type: ignore[no-any-return]


def tool(name: str = "look", **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, **more}}


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "verb"), [(False, "converse"), (True, "converse-stream")])
def test_a_chat_goes_to_its_models_address(stream: bool, verb: str) -> None:
    """
    A chat is a POST below the model, whose name is one step of the path; whether it streams stands there, too.
    """
    sent = dialect.write_request(Request("chat", "arn:aws:x/m:0", {"messages": [user("Hi")]}, stream=stream), PLAIN)

    assert ("POST", f"/model/arn%3Aaws%3Ax%2Fm%3A0/{verb}") == (sent.method, sent.path)
    assert {"messages": [user([{"text": "Hi"}])]} == json.loads(sent.body)


def test_limits_stand_in_inference_config() -> None:
    """
    OpenAI's limits become Bedrock's, the newer name first, and beside what the caller wrote there.
    """
    sent = written(max_tokens=1, max_completion_tokens=2, temperature=0, stop="x", inferenceConfig={"topP": 0.5})

    assert {"topP": 0.5, "maxTokens": 2, "temperature": 0, "stopSequences": ["x"]} == sent["inferenceConfig"]
    assert "inferenceConfig" not in written()


def test_system_messages_become_the_system() -> None:
    """
    Instructions are gathered wherever they stand, after those written as Bedrock writes them.
    """
    sent = written(
        system=[{"text": "a"}],
        messages=[
            {"role": "system", "content": "b"},
            user("Hi"),
            {"role": "developer", "content": [{"type": "text", "text": "c"}]},
        ],
    )

    assert [{"text": "a"}, {"text": "b"}, {"text": "c"}] == sent["system"]
    assert [user([{"text": "Hi"}])] == sent["messages"]


def test_neighbours_of_one_role_are_one_turn() -> None:
    """
    Bedrock wants the roles to alternate and all results in one turn; a turn in which nothing is said is left out.
    """
    assert [
        user([{"text": "a"}]),
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "t1", "name": "look", "input": {}}},
                {"toolUse": {"toolUseId": "t2", "name": "look", "input": {"at": 1}}},
            ],
        },
        user(
            [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "done"}]}},
                {"toolResult": {"toolUseId": "t2", "content": [{"json": {"n": 1}}], "status": "error"}},
                {"text": "b"},
            ]
        ),
    ] == turns(
        user("a"),
        {"role": "assistant", "content": " "},
        called(call(), call("t2", arguments='{"at":1}')),
        result(),
        result("t2", [{"json": {"n": 1}}], is_error=True),
        user("b"),
    )


def test_ids_of_calls_are_what_the_model_takes() -> None:
    """
    Claude takes no colons in an id and Kimi insists on its own; call and result stay together in either case.
    """

    def ids(to: str) -> set[str]:
        said = turns(user("a"), called(call("functions.look:0")), result("functions.look:0"), to=to)
        return {said[1]["content"][0]["toolUse"]["toolUseId"], said[2]["content"][0]["toolResult"]["toolUseId"]}

    assert {"functions_look_0"} == ids(CLAUDE)
    assert {"functions.look:0"} == ids("moonshotai.kimi-k2")


PDF = b64encode(b"%PDF").decode()


@pytest.mark.parametrize(
    ("given", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PDF}"}},
            {"image": {"format": "jpeg", "source": {"bytes": PDF}}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "s3://bucket/cat.PNG"}},
            {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/cat.PNG"}}}},
        ),
        (
            {"type": "file", "file": {"file_data": PDF, "filename": "my_report  (1).pdf"}},
            {"document": {"format": "pdf", "name": "my-report (1)", "source": {"bytes": PDF}}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/x-python,a%20%3D%201"}},
            {"document": {"format": "txt", "name": "document", "source": {"bytes": b64encode(b"a = 1").decode()}}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:image/png;base64,{PDF}"}},
            {"image": {"format": "png", "source": {"bytes": PDF}}},
        ),
        (
            {"type": "input_audio", "input_audio": {"format": "wav", "data": PDF}},
            {"audio": {"format": "wav", "source": {"bytes": PDF}}},
        ),
        ({"guardContent": {"text": {"text": "x"}}}, {"guardContent": {"text": {"text": "x"}}}),
    ],
)
def test_parts_are_translated(given: Json, block: Json) -> None:
    """
    Images, documents and audio go as bytes or from Amazon's storage; Bedrock's own blocks go as they are.
    """
    assert block == part(**given)


def test_documents_have_names_of_their_own() -> None:
    """
    Bedrock refuses two documents of one name, so the second is numbered, wherever it stands.
    """
    file = {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}
    own = {"document": {"format": "pdf", "name": "a 2", "source": {"bytes": PDF}}}
    said = turns(user([own, file]), called(call()), result("t1", [file]))

    assert "a" == said[0]["content"][1]["document"]["name"]
    assert "a 3" == said[2]["content"][0]["toolResult"]["content"][0]["document"]["name"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"n": 2}, "n: Bedrock cannot express it"),
        ({"seed": 1}, "seed: "),
        ({"logit_bias": {"1": 1}}, "logit_bias: "),
        ({"messages": []}, "messages: a chat needs"),
        ({"messages": [user("Hi", name=1), {"role": "critic"}]}, r"messages\[1\]: Bedrock has no role 'critic'"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\]: 'role' is missing"),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])]},
            "fetches no addresses",
        ),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}])]},
            "takes images as",
        ),
        ({"messages": [user([{"type": "file", "file": {"file_id": "f"}}])]}, "keeps no files"),
        (
            {"messages": [user([{"type": "file", "file": {"file_data": "data:audio/wav;base64,AA"}}])]},
            "takes documents as",
        ),
        ({"messages": [user([{"type": "hologram"}])]}, "no content of the type 'hologram'"),
        ({"messages": [called({"id": "1", "type": "custom", "custom": {}})]}, "knows functions only"),
        ({"tools": [{"type": "custom", "custom": {}}]}, r"tools\[0\]: it is of the type 'custom'"),
        ({"tools": [tool()], "tool_choice": "maybe"}, "tool_choice: 'maybe'"),
        ({"tools": [tool()], "tool_choice": {"type": "allowed_tools"}}, "tool_choice: Bedrock has no allowed_tools"),
        ({"tools": [tool()], "parallel_tool_calls": False}, "parallel_tool_calls: "),
        ({"response_format": {"type": "json_object"}}, "response_format: Bedrock has no json_object"),
        ({"reasoning_effort": "high"}, "reasoning_effort: Bedrock has no word for 'high' of this model"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(body: Json, told: str) -> None:
    """
    What would change the answer and has no words is refused, and the message says which it is.
    """
    with pytest.raises(BadRequest, match=told):
        written(**body)


def test_what_asks_for_nothing_is_left_out() -> None:
    """
    A parameter with a value that asks for nothing, and one that changes no answer, is not sent.
    """
    neutral = {name: values[0] for name, values in NEUTRAL.items() if values}

    assert written() == written(**neutral, **dict.fromkeys(HINTS, "x"), service_tier="auto", metadata={})


def test_tools_are_told() -> None:
    """
    Functions become tool specifications, a schema without a type is an object, and tools of Amazon's pass.
    """
    own = {"systemTool": {"name": "nova_grounding"}}
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    sent = written(
        tools=[tool(), tool("b", description="d", parameters=schema, strict=True), own], tool_choice="required"
    )

    assert {
        "tools": [
            {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
            {"toolSpec": {"name": "b", "description": "d", "inputSchema": {"json": schema}, "strict": True}},
            own,
        ],
        "toolChoice": {"any": {}},
    } == sent["toolConfig"]


def test_a_choice_of_no_tool_is_the_absence_of_tools() -> None:
    """
    Bedrock has no `none`: without calls before it the tools are left out, and with them it is refused.
    """
    assert "toolConfig" not in written(tools=[tool()], tool_choice="none")
    with pytest.raises(BadRequest, match="tool_choice: Bedrock has no none"):
        written(tools=[tool()], tool_choice="none", messages=[user("a"), called(call()), result()])
    named = written(tools=[tool()], tool_choice={"type": "function", "function": {"name": "look"}})
    assert {"tool": {"name": "look"}} == named["toolConfig"]["toolChoice"]
    assert "toolConfig" not in written(tool_choice="auto")


def test_a_schema_is_a_text() -> None:
    """
    The schema of an answer is sent as Bedrock wants it, as JSON within JSON.
    """
    schema = {"type": "object", "properties": {"ä": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    asked = written(response_format=form)["outputConfig"]["textFormat"]

    assert ("json_schema", "n") == (asked["type"], asked["structure"]["jsonSchema"]["name"])
    assert schema == json.loads(asked["structure"]["jsonSchema"]["schema"])


@pytest.mark.parametrize(
    ("to", "effort", "body", "fields"),
    [
        (CLAUDE, "low", {}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (CLAUDE, "high", {"max_tokens": 4096}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (CLAUDE, "low", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        (
            "anthropic.claude-opus-5-v1:0",
            "high",
            {},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (GPT, "high", {}, {"reasoning_effort": "high"}),
        (NOVA, "low", {}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("deepseek.r1-v1:0", "none", {}, None),
    ],
)
def test_effort_is_said_in_the_words_of_the_maker(to: str, effort: str, body: Json, fields: Json | None) -> None:
    """
    Each maker's models are told in their own fields how much to think; a caller's own word stands.
    """
    assert fields == written(to, reasoning_effort=effort, **body).get("additionalModelRequestFields")


def test_effort_leaves_the_callers_request_alone() -> None:
    """
    What is added to the model's own fields is not added to the caller's.
    """
    own = {"anthropic_beta": ["x"], "output_config": {"effort": "max"}}
    body = {"messages": [user("a")], "reasoning_effort": "low", "additionalModelRequestFields": own, "top_k": 3}
    request = Request("chat", "anthropic.claude-opus-5-v1:0", body)
    before = json.dumps(body)
    fields = json.loads(dialect.write_request(request, PLAIN).body)["additionalModelRequestFields"]

    assert own | {"top_k": 3, "thinking": {"type": "adaptive"}} == fields
    assert before == json.dumps(body)


def test_anthropics_own_parameters_go_to_the_model() -> None:
    """
    What only Claude understands is handed on to it under the names it has there.
    """
    sent = written(CLAUDE, top_k=3, betas=["b"], thinking={"type": "enabled", "budget_tokens": 1024})

    told = {"anthropic_beta": ["b"], "thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 3}
    assert told == sent["additionalModelRequestFields"]


def test_cache_marks_become_cache_points() -> None:
    """
    What Anthropic marks with `cache_control` has a cache point behind it, and within a result behind the result.
    """
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    text = {"type": "text", "text": "long", **mark}
    sent = written(
        messages=[
            {"role": "system", "content": [text]},
            user([text]),
            called(call() | mark) | mark,
            result("t1", [text]),
        ],
        tools=[tool() | mark],
    )

    assert [{"text": "long"}, point] == sent["system"]
    assert [{"text": "long"}, point] == sent["messages"][0]["content"]
    assert [point, point] == sent["messages"][1]["content"][1:]
    assert [{"toolResult": {"toolUseId": "t1", "content": [{"text": "long"}]}}, point] == sent["messages"][2]["content"]
    assert point == sent["toolConfig"]["tools"][1]


def test_bedrocks_own_passes() -> None:
    """
    A parameter that only Bedrock has is sent as it is, also one that nobody here has heard of.
    """
    own = {
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "performanceConfig": {"latency": "optimized"},
    }
    sent = dialect.write_request(Request("chat", "m", {"messages": [user("a")], **own, "brandNew": 1}), PLAIN)

    assert {"messages": [user([{"text": "a"}])], **own, "brandNew": 1} == json.loads(sent.body)


def test_thoughts_travel_between_anthropics_two_doors() -> None:
    """
    A signed thought that came through Anthropic's own API goes out to Bedrock with its signature, and back.
    """
    body = {"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a"}]}
    answer = AnthropicMessages().read_response(CHAT, json.dumps(body).encode(), PLAIN)
    assert isinstance(answer, Response)
    said = turns(user("q"), answer.message, user("r"))[1]["content"]

    assert [{"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"text": "a"}] == said
    read = dialect.read_response(CHAT, whole(said), PLAIN)
    assert isinstance(read, Response)
    assert answer.choices[0].extra == read.choices[0].extra


def test_a_request_reads_as_openai_would_ask_it() -> None:
    """
    Whoever speaks Converse to us is understood in OpenAI's words, model and stream included.
    """
    request = dialect.read_request(
        "chat",
        {
            "modelId": "m",
            "stream": True,
            "system": [{"text": "s"}],
            "messages": [user([{"text": "q"}]), {"role": "assistant", "content": [{"text": "a"}]}],
            "inferenceConfig": {"maxTokens": 5, "stopSequences": ["x"]},
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}],
                "toolChoice": {"any": {}},
            },
            "serviceTier": {"type": "flex"},
            "requestMetadata": {"k": "v"},
        },
    )

    assert ("chat", "m", True) == (request.verb, request.model, request.stream)
    assert {
        "messages": [{"role": "system", "content": "s"}, user("q"), {"role": "assistant", "content": "a"}],
        "max_tokens": 5,
        "stop": ["x"],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": "required",
        "service_tier": "flex",
        "metadata": {"k": "v"},
    } == request.body
    assert json.loads(request.encoded) == request.body


@pytest.mark.parametrize(
    "data", [None, [], {"messages": [{"role": "user"}]}, {"messages": 1}, {"messages": [], "toolConfig": 1}]
)
def test_what_is_no_request_is_refused(data: Any) -> None:
    """
    A body that is none of Converse is a bad request, whatever it is.
    """
    with pytest.raises(BadRequest):
        dialect.read_request("chat", data).but()


# --- embeddings and the rest ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "body", "sent"),
    [
        ("amazon.titan-embed-text-v2:0", {"input": "a", "dimensions": 256, "normalize": True}, {"inputText": "a", "normalize": True, "dimensions": 256}),
        ("amazon.titan-embed-image-v1", {"input": ["a"], "dimensions": 256}, {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 256}}),
        ("us.cohere.embed-v4:0", {"input": ["a", "b"], "dimensions": 256}, {"texts": ["a", "b"], "input_type": "search_document", "output_dimension": 256}),
        ("amazon.nova-2-multimodal-embeddings-v1:0", {"input": "a", "dimensions": 256}, {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 256, "text": {"truncationMode": "NONE", "value": "a"}}}),
        ("cohere.embed-english-v3", {"input": "a", "input_type": "search_query"}, {"texts": ["a"], "input_type": "search_query"}),
    ],
)  # fmt: skip
def test_embeddings_are_asked_in_the_words_of_the_maker(to: str, body: Json, sent: Json) -> None:
    """
    Titan, Nova and Cohere are asked each in their own shape, and what is asked in that shape is understood.
    """
    written = dialect.write_request(Request("embed", to, body), PLAIN)

    assert sent == json.loads(written.body)
    assert written.path.endswith("/invoke")
    request = dialect.read_request("embed", sent).but()
    assert [body["input"]] == request.body["input"] or body["input"] == request.body["input"]
    assert body.get("dimensions") == request.body.get("dimensions")
    assert sent == json.loads(dialect.write_request(request.to(to), PLAIN).body)


@pytest.mark.parametrize(
    ("to", "body"),
    [("amazon.titan-embed-text-v2:0", ["a", "b"]), ("cohere.embed-v4:0", [[1, 2]]), ("other.embed", "a")],
)
def test_embeddings_that_cannot_be_asked_for_are_refused(to: str, body: Any) -> None:
    """
    Several texts for Titan, tokens, and a model of an unknown shape are refused before anything is sent.
    """
    with pytest.raises(BadRequest):
        dialect.write_request(Request("embed", to, {"input": body}), PLAIN)


@pytest.mark.parametrize(
    "to", ["amazon.nova-2-multimodal-embeddings-v1:0", "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"]
)
def test_vectors_are_written_as_the_maker_would(to: str) -> None:
    """
    An answer with vectors is written in the shape of its model's maker, and reads as it did.
    """
    answer = Embeddings(model=to, vectors=[[0.5, 1.0]])
    said = dialect.write_response(answer)

    assert ("embedding" in said) is ("titan" in to)
    again = dialect.read_response(Request("embed", to), json.dumps(said).encode(), PLAIN)
    assert [[0.5, 1.0]] == again.vectors  # type: ignore[attr-defined]


def test_vectors_by_their_type_are_read() -> None:
    """
    Cohere may sort its vectors by type; the plain ones are meant.
    """
    answer = dialect.read_response(
        Request("embed", "m"), b'{"embeddings": {"float": [[1, 2]], "int8": [[3, 4]]}}', PLAIN
    )

    assert isinstance(answer, Embeddings)
    assert ([[1, 2]], "m") == (answer.vectors, answer.model)


def test_other_verbs() -> None:
    """
    A request passes as it is; what Bedrock does not have is refused.
    """
    raw = Request("request", body={"a": 1}, encoded=b'{"a":1}', path="/model/m/invoke")

    assert b'{"a":1}' == dialect.write_request(raw, PLAIN).body
    assert RawResponse(content=b"x") == dialect.read_response(raw, b"x", PLAIN)
    assert {"a": 1} == dialect.write_response(RawResponse(content=b'{"a":1}'))
    with pytest.raises(BadRequest, match="complete"):
        dialect.write_request(Request("complete", "m", {"prompt": "a"}), PLAIN)
    with pytest.raises(BadRequest, match="models"):
        dialect.read_request("models", None)


# --- answers ----------------------------------------------------------------------------------------------------------


def whole(content: list[Json], stop: str = "end_turn", **usage: int) -> bytes:
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": usage}
    return json.dumps(body).encode()


def test_the_cache_is_part_of_the_input() -> None:
    """
    Bedrock counts what was read from the cache and written into it apart; it was read all the same.
    """
    body = whole([], inputTokens=3, outputTokens=2, cacheReadInputTokens=10, cacheWriteInputTokens=100, totalTokens=115)
    usage = dialect.read_response(CHAT, body, PLAIN).usage

    assert (113, 2, 10, 100, 115) == (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.total_tokens,
    )
    assert None is dialect.read_response(CHAT, whole([]), PLAIN).usage.input_tokens


def test_what_ran_at_amazons_is_no_call() -> None:
    """
    A tool that ran there is not the caller's to run, is kept for the next turn, and is sent there first.
    """
    ran = {"toolUse": {"toolUseId": "a", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}
    gave = {"toolResult": {"toolUseId": "a", "content": [{"text": "x"}], "type": "nova_grounding_result"}}
    cited = {
        "citationsContent": {
            "content": [{"text": " b"}],
            "citations": [{"location": {"web": {"url": "https://u"}}}] * 2,
        }
    }
    answer = dialect.read_response(CHAT, whole([ran, gave, {"text": "a"}, cited]), PLAIN)

    assert isinstance(answer, Response)
    assert ("a b", [], ["https://u"], "m") == (answer.text, answer.tool_calls, answer.citations, answer.model)
    assert [ran, gave, {"text": "a b"}] == turns(user("q"), answer.message)[1]["content"]


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "stop"),
        ("brand_new", "stop"),
    ],
)
def test_reasons_are_translated(native: str, finish: str) -> None:
    """
    Every reason of Bedrock's has its word of OpenAI's and is kept beside it; it is written again as it was.
    """
    answer = dialect.read_response(CHAT, whole([], native), PLAIN)

    assert isinstance(answer, Response)
    assert (finish, native) == (answer.finish_reason, answer.choices[0].native_finish_reason)
    assert native in (dialect.write_response(answer)["stopReason"], "brand_new")


def test_every_reason_of_amazons_is_known() -> None:
    """
    The reasons and the exceptions in Amazon's own model are in our tables.
    """
    from llmgate.dialects.bedrock_words import FINISH

    assert set(model().shape_for("StopReason").enum) <= FINISH.keys()
    exceptions = {
        shape for shape in model().shape_names if getattr(model().shape_for(shape), "metadata", {}).get("exception")
    }
    assert exceptions <= TYPES.keys()


def test_an_answer_of_another_upstream_is_written() -> None:
    """
    What some other upstream said is an answer that Amazon's SDK reads, refusal and reasons of its own included.
    """
    calls = [ToolCall("", "look", "not json", 0)]
    choice = Choice(text="a", reasoning="hm", tool_calls=calls, refusal="no", finish_reason="length")
    said = dialect.write_response(Response(id="i", choices=[choice, Choice(1, "b")], usage=Usage(10, 2, 4)))
    content = said["output"]["message"]["content"]

    assert {"reasoningContent": {"reasoningText": {"text": "hm"}}} == content[0]
    assert [{"text": "a"}, {"text": "no"}] == content[1:3]
    assert ("look", {"INVALID_JSON": "not json"}) == (content[3]["toolUse"]["name"], content[3]["toolUse"]["input"])
    assert content[3]["toolUse"]["toolUseId"].startswith("tooluse_")
    assert "content_filtered" == said["stopReason"]
    assert {"inputTokens": 6, "outputTokens": 2, "totalTokens": 12, "cacheReadInputTokens": 4} == said["usage"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"1", b"{}", b'{"output": {}}', b'{"output": {"message": {"content": [1]}}}']
)
def test_what_is_no_answer_is_none(body: bytes) -> None:
    """
    A body that is no answer is a fault of the protocol, and never an empty answer.
    """
    for request in (CHAT, Request("embed", "m")):
        with pytest.raises(ProtocolError):
            dialect.read_response(request, body, PLAIN)


# --- streams ----------------------------------------------------------------------------------------------------------


def event(kind: str, **data: Any) -> bytes:
    return framed({":event-type": kind, ":message-type": "event"}, json.dumps(data).encode())


def delta(index: int, **delta: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=delta)


def stop(index: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def start(index: int, **start: Any) -> bytes:
    return event("contentBlockStart", contentBlockIndex=index, start=start)


END = event("messageStop", stopReason="end_turn")
USAGE = event("metadata", usage={"inputTokens": 1, "outputTokens": 2})
ABOVE = event("messageStart", role="assistant")


def read(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(STREAMED, PLAIN)
    return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.end()


def folded(*pieces: bytes) -> Response:
    answer = fold(read(*pieces))
    assert isinstance(answer, Response)
    return answer


def test_thoughts_are_read_while_they_come_and_kept_whole() -> None:
    """
    A thought is given out as it comes, and once more as a whole with its signature, because the next turn wants it.
    """
    answer = folded(
        ABOVE,
        delta(0, reasoningContent={"text": "h"}),
        delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "s"}),
        stop(0),
        delta(1, reasoningContent={"redactedContent": "eA=="}),
        stop(1),
        delta(2, reasoningContent={"text": "unsigned"}),
        stop(2),
        delta(3, text="a"),
        END,
    )

    assert ("a", "hmunsigned") == (answer.text, answer.reasoning)
    assert {
        "thinking_blocks": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "eA=="},
        ]
    } == answer.choices[0].extra


def test_what_ran_at_amazons_is_no_call_of_a_stream() -> None:
    """
    A tool that ran there is kept whole for the next turn, and the caller's calls are numbered without it.
    """
    answer = folded(
        start(0, toolUse={"toolUseId": "a", "name": "nova", "type": "server_tool_use"}),
        delta(0, toolUse={"input": '{"q":'}),
        delta(0, toolUse={"input": "1}"}),
        stop(0),
        start(1, toolResult={"toolUseId": "a", "type": "nova_result", "status": "success"}),
        delta(1, toolResult=[{"text": "x"}]),
        delta(1, toolResult=[{"text": "y"}]),
        stop(1),
        start(2, toolUse={"toolUseId": "b", "name": "look"}),
        delta(2, toolUse={"input": "{}"}),
        delta(3, citation={"location": {"web": {"url": "https://u"}}}),
        END,
        USAGE,
    )

    assert [(0, "b", "look", "{}")] == [(c.index, c.id, c.name, c.arguments) for c in answer.tool_calls]
    assert ["https://u"] == answer.citations
    assert [
        {"toolUse": {"toolUseId": "a", "name": "nova", "type": "server_tool_use", "input": {"q": 1}}},
        {
            "toolResult": {
                "toolUseId": "a",
                "type": "nova_result",
                "status": "success",
                "content": [{"text": "x"}, {"text": "y"}],
            }
        },
    ] == answer.choices[0].extra["bedrock_content"]


def test_the_end_is_not_the_last_event() -> None:
    """
    A stream is whole after `messageStop`, and read on until the usage has come.
    """
    reader = dialect.reader(STREAMED, PLAIN)
    reader.feed(ABOVE + delta(0, text="a") + END)
    assert not reader.terminated
    assert [] == reader.end()

    reader = dialect.reader(STREAMED, PLAIN)
    chunks = reader.feed(END + USAGE + b"whatever")
    assert reader.terminated
    assert Usage(1, 2) == chunks[-1].usage
    assert [] == reader.feed(b"whatever") == reader.end()


@pytest.mark.parametrize("pieces", [(), (ABOVE,), (ABOVE, delta(0, text="a"), USAGE), (END[:-1],), (END, USAGE[:20])])
def test_a_stream_without_its_end_is_no_answer(pieces: tuple[bytes, ...]) -> None:
    """
    Without `messageStop`, or cut off in the middle of an event, the stream was interrupted.
    """
    with pytest.raises(StreamInterrupted):
        read(*pieces)


def reported(name: str, **body: Any) -> bytes:
    return framed({":exception-type": name, ":message-type": "exception"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (reported("throttlingException", message="slow"), RateLimited),
        (reported("internalServerException", message="oops"), UpstreamError),
        (reported("modelStreamErrorException", message="m", originalStatusCode=503), Overloaded),
        (reported("modelStreamErrorException", message="m", originalStatusCode=400), UpstreamError),
        (reported("serviceUnavailableException", message="m"), Overloaded),
        (reported("validationException", message="Input is too long for requested model"), ContextWindowExceeded),
        (
            framed({":error-code": "InternalFailure", ":error-message": "m", ":message-type": "error"}, b""),
            UpstreamError,
        ),
        (framed({":exception-type": "brandNew", ":message-type": "exception"}, b"no json"), UpstreamError),
    ],
)
def test_errors_in_a_stream_are_what_they_mean(frame: bytes, kind: type[GatewayError]) -> None:
    """
    An error inside a stream is told by its name; what came before it is given out first.
    """
    reader = dialect.reader(STREAMED, PLAIN)

    assert ["a"] == [chunk.text for chunk in reader.feed(delta(0, text="a") + frame)]
    with pytest.raises(GatewayError) as caught:
        reader.feed(END)
    assert kind is type(caught.value)
    with pytest.raises(kind):
        reader.end()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"message": "The security token included in the request is expired"}', GatewayError),
        (b'{"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}}', UpstreamError),
        (b"  <html>", ProtocolError),
        (b"garbage garbage", ProtocolError),
        (event("contentBlockDelta", delta=1), ProtocolError),
        (framed({":message-type": "event"}, b"{}"), ProtocolError),
        (framed({":event-type": "messageStop"}, b"["), ProtocolError),
    ],
)
def test_what_is_no_stream_is_none(body: bytes, kind: type[GatewayError]) -> None:
    """
    JSON or a page in place of a stream is the error that it tells, and damaged events are no events.
    """
    with pytest.raises(kind):
        read(body)


def test_events_nobody_has_heard_of_are_passed_on() -> None:
    """
    A new event, a new delta and padding are nothing to us, and stand in `raw` for whoever passes the stream on.
    """
    chunks = read(event("brandNew", a=1), delta(0, brandNew=1), delta(0, text="a", p="abc"), END)

    assert {"brandNew": {"a": 1}} == chunks[0].raw
    assert "a" == "".join(chunk.text for chunk in chunks)


def test_calls_that_come_in_turns_are_written() -> None:
    """
    Pieces of two calls may alternate, as some upstreams send them; each piece names its block and finds its call.
    """
    writer = dialect.writer(STREAMED)
    pieces = [
        Chunk(tool_calls=[ToolCall("a", "f", '{"x":', 0)]),
        Chunk(tool_calls=[ToolCall("b", "g", "{", 1)]),
        Chunk(tool_calls=[ToolCall("", "", "1}", 0), ToolCall("", "", "}", 1)]),
        Chunk(finish_reason="tool_calls"),
    ]
    answer = folded(*map(writer.feed, pieces), writer.end())

    assert [("a", "f", '{"x":1}'), ("b", "g", "{}")] == [(c.id, c.name, c.arguments) for c in answer.tool_calls]
    assert "tool_use" == answer.choices[0].native_finish_reason


def test_an_error_is_written_as_an_exception() -> None:
    """
    An error is the last event of a stream; one for which a stream has no exception is the model's.
    """
    for error, name in (
        (RateLimited("x"), b"throttlingException"),
        (ContextWindowExceeded("x"), b"validationException"),
        (PermissionDenied("x"), b"modelStreamErrorException"),
    ):
        frame = dialect.writer(STREAMED).error(error)
        assert name in frame
        with pytest.raises(GatewayError):
            read(frame)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn’t supported.",
            ModelNotFound,
        ),
        (400, "ValidationException", "prompt is too long: 200001 tokens > 200000 maximum", ContextWindowExceeded),
        (400, "ValidationException", "Output blocked by content filtering policy", ContentFiltered),
        (400, "ServiceQuotaExceededException", "too much", QuotaExhausted),
        (403, "AccessDeniedException", "You don't have access to the model", PermissionDenied),
        (
            403,
            "AccessDeniedException",
            "Authentication failed: Please make sure your API Key is valid.",
            AuthenticationFailed,
        ),
        (403, "", "The security token included in the request is invalid.", AuthenticationFailed),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model", ModelNotFound),
        (408, "ModelTimeoutException", "slow", UpstreamTimeout),
        (424, "ModelErrorException", "oops", UpstreamError),
        (424, "", "oops", UpstreamError),
        (429, "ModelNotReadyException", "wait", Overloaded),
        (429, "ThrottlingException", "Too many requests", RateLimited),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", QuotaExhausted),
        (500, "", "", UpstreamError),
        (503, "BrandNewException", "", Overloaded),
    ],
)
def test_errors_are_told_apart(status: int, name: str, message: str, kind: type[GatewayError]) -> None:
    """
    The exception's name decides, a vague one its sentence, an unknown one its status.
    """
    headers = {"x-amzn-errortype": f"{name}:http://x/", "x-amzn-requestid": "r", "retry-after": "7"} if name else {}
    error = dialect.read_error(status, headers, json.dumps({"message": message}).encode())

    assert kind is type(error)
    assert (status, name or None, 7.0 if name else None) == (error.status, error.code, error.retry_after)
    assert message == error.message or not message


def test_names_in_the_body_count() -> None:
    """
    Where no header tells the name, the body's `__type` does; a page for a browser is not quoted.
    """
    body = b'{"__type": "com.amazon.coral.service#ExpiredTokenException", "Message": "expired"}'

    assert AuthenticationFailed is type(dialect.read_error(400, {}, body))
    assert "the upstream answered 502" == dialect.read_error(502, {}, b"<html>secret</html>").message


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed("x"),
        BadRequest("x"),
        ContextWindowExceeded("x"),
        ModelNotFound("x"),
        Overloaded("x"),
        PermissionDenied("x"),
        QuotaExhausted("x"),
        RateLimited("x", retry_after=1.5, request_id="r"),
        UpstreamError("x"),
        UpstreamTimeout("x"),
    ],
    ids=lambda error: error.kind,
)
def test_a_written_error_reads_as_it_was(error: GatewayError) -> None:
    """
    An error written as Amazon would say it is read as the same error.
    """
    status, headers, body = dialect.write_error(error)
    again = dialect.read_error(status, headers, json.dumps(body).encode())

    assert (type(error), error.request_id) == (type(again), again.request_id)
    assert again.message.endswith("x")
    assert again.retry_after == (2 if error.retry_after else None)


def test_no_sdk_repeats_what_costs_money() -> None:
    """
    A budget of ours that is used up is said with a status that Amazon's SDKs do not try again.
    """
    status, headers, _ = dialect.write_error(BudgetExceeded("x"))

    assert (400, "ServiceQuotaExceededException") == (status, headers["x-amzn-errortype"])


def test_marks_of_the_prompt_cache_are_read_as_others_write_them() -> None:
    """
    A cache point is a mark on what stands before it, in a turn, a system message, a call, a result or a tool; written
    again it is the cache point that it was. One that stands behind a block of Bedrock's own stays a block.
    """
    point: Json = {"cachePoint": {"type": "default"}}
    hour: Json = {"cachePoint": {"type": "default", "ttl": "1h"}}
    data = {
        "system": [{"text": "Be brief."}, point],
        "messages": [
            user([{"text": "a"}, point, {"text": "b"}, hour]),
            {
                "role": "assistant",
                "content": [{"text": "c"}, point, {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}, point],
            },
            user([{"toolResult": {"toolUseId": "t", "content": [{"text": "d"}]}}, point, {"text": "e"}]),
            user([{"guardContent": {"text": {"text": "f"}}}, point]),
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}, point]},
    }
    request = dialect.read_request("chat", data).but()
    marked = [
        part.get("cache_control")
        for message in request.body["messages"]
        for part in [message, *(message["content"] if isinstance(message["content"], list) else ())]
    ]

    assert {"type": "ephemeral"} == request.body["tools"][0]["cache_control"]
    assert {"type": "ephemeral", "ttl": "1h"} in marked
    assert 5 == len([mark for mark in marked if mark])
    assert {"type": "ephemeral"} == request.body["messages"][2]["tool_calls"][0]["cache_control"]
    again = json.loads(dialect.write_request(request.to("anthropic.claude-x"), PLAIN).body)
    turns = [*data["messages"][:2], user([*data["messages"][2]["content"], *data["messages"][3]["content"]])]  # type: ignore[index]
    assert data | {"messages": turns} == again
