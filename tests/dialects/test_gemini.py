"""What Google's `generateContent` means, promise by promise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects.base import Quirks
from llmgate.dialects.gemini import Gemini
from llmgate.dialects.gemini_requests import BUDGETS, HINTS, NEUTRAL, UNSIGNED
from llmgate.dialects.gemini_streams import ArraySplitter
from llmgate.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadRequest,
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
)
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Embeddings, Model, Models, RawResponse, Response, ToolCall, Value, fold
from llmgate.types.usage import Usage

dialect = Gemini()
PLAIN = Quirks()
USER = {"role": "user", "content": "hi"}

Json = dict[str, Any]


def read(**data: Any) -> Response:
    answer = dialect.read_response(Request("chat", "m"), json.dumps(data).encode(), PLAIN)
    assert isinstance(answer, Response)
    return answer


def of_parts(*parts: Json, **candidate: Any) -> Response:
    content = {"role": "model", "parts": list(parts)}
    return read(responseId="r", candidates=[{"content": content, "finishReason": "STOP"} | candidate])


def written(model: str = "gemini-2.5-flash", **body: Any) -> Any:
    return json.loads(dialect.write_request(Request("chat", model, {"messages": [USER], **body}), PLAIN).body)


def contents(*messages: Json, model: str = "gemini-2.5-flash") -> Any:
    return written(model, messages=list(messages))["contents"]


def asked(**body: Any) -> Json:
    body.setdefault("contents", [{"role": "user", "parts": [{"text": "hi"}]}])
    request = dialect.read_request("chat", body)
    assert json.loads(request.encoded) == request.body
    return request.body  # type: ignore[no-any-return]


def streamed(*events: Json, ending: bytes = b"") -> list[Chunk]:
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events) + ending
    return reader.feed(data) + reader.end()


def event(*parts: Json, finish: str | None = None, index: int = 0, **fields: Any) -> Json:
    candidate: Json = {"content": {"parts": list(parts)}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r", "modelVersion": "gemini-x", **fields}


def failure(status: int, word: str, message: str = "no", *details: Json) -> GatewayError:
    error = {"code": status, "message": message, "status": word, "details": list(details)}
    return dialect.read_error(status, {}, json.dumps({"error": error}).encode())


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_read() -> None:
    """
    Texts are joined, thoughts are reasoning, calls get an id that stays the same, and sources are cited once.
    """
    web = {"web": {"uri": "https://x.test"}}
    answer = of_parts(
        {"text": "hm", "thought": True},
        {"text": "It "},
        {"text": "rains."},
        {"functionCall": {"name": "f", "args": {"at": "Rome"}}},
        {"functionCall": {"name": "g", "id": "own"}},
        groundingMetadata={"groundingChunks": [web, web, {"retrievedContext": {"text": "of a file"}}]},
    )

    choice = answer.choices[0]
    assert ("It rains.", "hm", ["https://x.test"]) == (choice.text, choice.reasoning, choice.citations)
    assert [("f", {"at": "Rome"}), ("g", {})] == [(call.name, call.parsed()) for call in choice.tool_calls]
    first, second = (call.id for call in choice.tool_calls)
    assert "own" == second
    assert first == of_parts({"functionCall": {"name": "f"}}).tool_calls[0].id != ""
    assert {} == choice.extra


@pytest.mark.parametrize(
    ("reason", "finish", "native"),
    [
        ("STOP", "stop", "STOP"),
        ("MAX_TOKENS", "length", "MAX_TOKENS"),
        ("SAFETY", "content_filter", "SAFETY"),
        ("PROHIBITED_CONTENT", "content_filter", "PROHIBITED_CONTENT"),
        ("UNEXPECTED_TOOL_CALL", "stop", "UNEXPECTED_TOOL_CALL"),
        ("OF_TOMORROW", "stop", "OF_TOMORROW"),
        (1, "stop", "STOP"),
        (2, "length", "MAX_TOKENS"),
        (3, "content_filter", "SAFETY"),
        (8, "content_filter", "8"),
        (0, None, None),
        ("FINISH_REASON_UNSPECIFIED", None, None),
    ],
)
def test_reasons(reason: Any, finish: str | None, native: str | None) -> None:
    """
    Every reason, as a word or as its number, has one of OpenAI's.
    """
    choice = of_parts({"text": "x"}, finishReason=reason).choices[0]

    assert (finish, native) == (choice.finish_reason, choice.native_finish_reason)


def test_a_call_ends_an_answer_that_simply_stopped() -> None:
    """
    STOP behind a call is `tool_calls`; an answer that was cut off stays cut off.
    """
    call = {"functionCall": {"name": "f"}}

    assert "tool_calls" == of_parts(call).finish_reason
    assert "length" == of_parts(call, finishReason="MAX_TOKENS").finish_reason


def test_a_blocked_prompt_is_an_answer_that_was_filtered() -> None:
    """
    A prompt that was blocked has no candidates and is no protocol error, whole or in a stream.
    """
    data = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}}

    for answer in (read(**data), fold(streamed(data))):
        assert isinstance(answer, Response)
        assert [("", "content_filter")] == [(choice.text, choice.finish_reason) for choice in answer.choices]
        assert 3 == answer.usage.input_tokens


def test_several_candidates_are_kept_apart() -> None:
    """
    Candidates are choices, also where a stream mixes them.
    """
    answer = fold(
        streamed(
            event({"text": "a"}),
            event({"text": "b"}, index=1),
            event({"text": "A"}, finish="STOP"),
            event({"text": "B"}, index=1, finish="MAX_TOKENS"),
        )
    )

    assert isinstance(answer, Response)
    assert [("aA", "stop"), ("bB", "length")] == [(choice.text, choice.finish_reason) for choice in answer.choices]


def test_tokens_are_counted_as_openai_counts() -> None:
    """
    What tools brought is input, what was thought is output, and what was not sent is unknown.
    """
    counts = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 2,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 7}],
    }

    usage = read(candidates=[{}], usageMetadata=counts).usage
    assert Usage(15, 5, 4, None, 2, 7) == usage
    assert Usage() == read(candidates=[{}], usageMetadata={"trafficType": "ON_DEMAND"}).usage
    back = dialect.write_response(Response(usage=usage))["usageMetadata"]
    assert (15, 3, 2, 4, 20) == (
        back["promptTokenCount"],
        back["candidatesTokenCount"],
        back["thoughtsTokenCount"],
        back["cachedContentTokenCount"],
        back["totalTokenCount"],
    )


def test_what_is_no_count_is_no_count() -> None:
    """
    Something else in place of a number is unknown, and does not disturb the answer.
    """
    counts = {"promptTokenCount": "9", "candidatesTokenCount": -1, "cachedContentTokenCount": True}

    assert Usage() == read(candidates=[{"index": None}], usageMetadata=counts).usage


def test_logprobs_are_openais() -> None:
    """
    Chosen and other tokens are read as OpenAI writes them, and written back.
    """
    chosen = {"token": "a", "logProbability": -0.5}
    other = {"token": "b", "logProbability": -1.5}
    result = {"chosenCandidates": [chosen], "topCandidates": [{"candidates": [chosen, other]}]}
    answer = of_parts({"text": "a"}, logprobsResult=result)

    entry = answer.choices[0].logprobs["content"][0]
    assert ("a", -0.5, ["a", "b"]) == (
        entry["token"],
        entry["logprob"],
        [top["token"] for top in entry["top_logprobs"]],
    )
    assert result == dialect.write_response(answer)["candidates"][0]["logprobsResult"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"3", b"{}", b'{"candidates": [{"content": {"parts": 3}}]}'])
def test_what_is_no_answer_is_a_protocol_error(body: bytes) -> None:
    """
    JSON of another shape, and what is no JSON, is never an empty answer.
    """
    with pytest.raises(ProtocolError):
        dialect.read_response(Request("chat", "m"), body, PLAIN)


def test_an_error_in_place_of_an_answer_is_that_error() -> None:
    """
    A status of 200 does not make an answer of an error.
    """
    with pytest.raises(Overloaded):
        read(error={"code": 503, "status": "UNAVAILABLE", "message": "busy"})


def test_answers_of_others_are_written() -> None:
    """
    Embeddings, models and raw JSON have their shapes; a value has none.
    """
    models = Models(data=[Model("m", context_window=9)])

    assert {"embeddings": [{"values": [1.0]}]} == dialect.write_response(Embeddings(vectors=[[1.0]]))
    assert ("models/m", 9) == tuple(dialect.write_response(models)["models"][0][n] for n in ("name", "inputTokenLimit"))
    assert {"a": 1} == dialect.write_response(RawResponse(content=b'{"a":1}'))
    with pytest.raises(BadRequest):
        dialect.write_response(Value(value=1))


# --- what the next turn wants back ------------------------------------------------------------------------------------


SIGNED = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}


def test_a_signature_comes_back_with_its_call() -> None:
    """
    The signature stands where Google's OpenAI endpoint puts it, and goes back into the call's own part.
    """
    answer = of_parts({"text": "So."}, SIGNED, {"functionCall": {"name": "g", "args": {}}})

    assert {"google": {"thought_signature": "c2ln"}} == answer.message["tool_calls"][0]["extra_content"]
    assert "extra_content" not in answer.message
    assert [{"text": "So."}, SIGNED, {"functionCall": {"name": "g", "args": {}}}] == contents(
        {"role": "user", "content": "?"}, answer.message
    )[1]["parts"]


PARTS = [
    {"text": "Let me see. "},
    {"executableCode": {"language": "PYTHON", "code": "1 + 1"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
    {"text": "Two."},
    {"text": "", "thoughtSignature": "c2ln"},
]


def test_a_turn_that_is_more_than_text_comes_back_as_it_was() -> None:
    """
    Code that ran, its place and a signature of a text survive the trip through OpenAI's message, whole or streamed.
    """
    folded = fold(streamed(*(event(part) for part in PARTS[:-1]), event(PARTS[-1], finish="STOP")))
    assert isinstance(folded, Response)

    for answer in (of_parts(*PARTS), folded):
        assert "Let me see. Two." == answer.text
        assert PARTS == contents(USER, answer.message)[1]["parts"]
        assert PARTS == dialect.write_response(answer)["candidates"][0]["content"]["parts"]


def test_a_signed_text_comes_back_signed() -> None:
    """
    The signature of a text stays in the part that it came in; parts with and without one are never joined.
    """
    signed = {"text": "It rains.", "thoughtSignature": "c2ln"}

    for parts in ([signed], [{"text": "So: "}, signed]):
        assert parts == contents(USER, of_parts(*parts).message)[1]["parts"]


def test_a_turn_that_was_changed_is_sent_as_it_is_now() -> None:
    """
    Whoever redacts a message does not find what it said in the request all the same.
    """
    message = of_parts(*PARTS, SIGNED).message
    changed = message | {"content": "Two [redacted]."}
    recalled = json.loads(json.dumps(message))
    recalled["tool_calls"][0]["function"]["arguments"] = '{"a":2}'

    assert [*PARTS, SIGNED] == contents(USER, message)[1]["parts"]
    assert "see" not in json.dumps(contents(USER, changed))
    assert {"a": 2} == contents(USER, recalled)[1]["parts"][-1]["functionCall"]["args"]


def test_a_call_that_no_gemini_made_is_let_in() -> None:
    """
    Gemini 3 refuses a turn whose first call has no signature; it gets the one that Google names for that.
    """
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2)]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    parts = contents(USER, message, model="gemini-3-pro-preview")[1]["parts"]

    assert [UNSIGNED, None] == [part.get("thoughtSignature") for part in parts]
    assert ["c1", "c2"] == [part["functionCall"]["id"] for part in parts]
    assert "thoughtSignature" not in json.dumps(contents(USER, message, model="gemini-2.5-flash"))
    own = of_parts(SIGNED).message
    assert [SIGNED] == contents(USER, own, model="gemini-3-pro-preview")[1]["parts"]


# --- requests, written ------------------------------------------------------------------------------------------------


def test_paths() -> None:
    """
    The model stands in the path, a folder of its own before it; what it is asked for behind it.
    """

    def path(verb: Any, model: str, stream: bool = False, quirks: Quirks = PLAIN) -> str:
        body = {"messages": [USER]} if verb == "chat" else {"input": "a"}
        return dialect.write_request(Request(verb, model, body, stream), quirks).path

    assert "/models/gemini-x:generateContent" == path("chat", "gemini-x")
    assert "/models/gemini-x:streamGenerateContent?alt=sse" == path("chat", "gemini-x", stream=True)
    assert "/tunedModels/mine:generateContent" == path("chat", "tunedModels/mine")
    assert "/models/a%3Fb%23:generateContent" == path("chat", "a?b#")
    assert "/models/e:batchEmbedContents" == path("embed", "e")
    assert "/models/e:predict" == path("embed", "e", quirks=Quirks(paths={"embed": "/models/{model}:predict"}))
    with pytest.raises(BadRequest, match="complete"):
        dialect.write_request(Request("complete", "m", {"prompt": "x"}), PLAIN)


def test_parameters_have_googles_names() -> None:
    """
    Each of OpenAI's parameters stands where Google looks for it.
    """
    body = written(
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        n=2,
        seed=7,
        stop="END",
        max_tokens=5,
        max_completion_tokens=6,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=4,
        modalities=["text", "image"],
        response_format={"type": "json_object"},
        service_tier="default",
        user="ann",
    )

    assert {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "candidateCount": 2,
        "seed": 7,
        "stopSequences": ["END"],
        "maxOutputTokens": 6,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 4,
        "responseModalities": ["TEXT", "IMAGE"],
        "responseMimeType": "application/json",
    } == body["generationConfig"]
    assert {"contents", "generationConfig", "serviceTier"} == body.keys()
    assert "standard" == body["serviceTier"]


def test_own_parameters_pass() -> None:
    """
    Google's own parameters and tools go out as they are, those of `generationConfig` beside what was translated.
    """
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body = written(
        safetySettings=safety,
        cachedContent="cachedContents/1",
        temperature=1,
        generationConfig={"mediaResolution": "MEDIA_RESOLUTION_LOW", "thinkingConfig": {"thinkingBudget": 7}},
        reasoning_effort="high",
        tools=[{"googleSearch": {}}, {"type": "function", "function": {"name": "f"}}],
        toolConfig={"includeServerSideToolInvocations": True},
        tool_choice="required",
    )

    assert (safety, "cachedContents/1") == (body["safetySettings"], body["cachedContent"])
    assert {
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "temperature": 1,
        "thinkingConfig": {"thinkingBudget": 7},
    } == body["generationConfig"]
    assert [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}] == body["tools"]
    assert {
        "functionCallingConfig": {"mode": "ANY"},
        "includeServerSideToolInvocations": True,
    } == body["toolConfig"]


def test_what_is_said_in_googles_words_wins() -> None:
    """
    A `generationConfig` of the caller's own overrules what was translated, and an effort that it makes needless.
    """
    own = {"temperature": 2, "thinkingConfig": {"thinkingLevel": "low"}}
    body = written("gemini-3-flash-preview", temperature=1, seed=3, reasoning_effort="none", generationConfig=own)

    assert own | {"seed": 3} == body["generationConfig"]


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        *(
            ("gemini-2.5-flash", effort, {"includeThoughts": True, "thinkingBudget": budget})
            for effort, budget in BUDGETS.items()
            if budget
        ),
        ("gemini-3-flash-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "minimal"}),
        ("gemini-3.1-pro-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3.5-flash", "high", {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-flash-latest", "medium", {"includeThoughts": True, "thinkingLevel": "medium"}),
        ("gemini-2.0-flash", "none", None),
    ],
)
def test_efforts(model: str, effort: str, thinking: Json | None) -> None:
    """
    An effort is a budget for the models that think up to one, and a level for those since 3.
    """
    assert thinking == written(model, reasoning_effort=effort).get("generationConfig", {}).get("thinkingConfig")


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gemini-2.5-pro", "none"),
        ("gemini-3-flash-preview", "none"),
        ("gemini-2.0-flash", "low"),
        ("gemini-2.5-flash", "much"),
    ],
)
def test_efforts_that_a_model_cannot_make_are_refused(model: str, effort: str) -> None:
    """
    A model that always thinks is not asked to stop, nor one that never does to begin.
    """
    with pytest.raises(BadRequest, match="reasoning_effort"):
        written(model, reasoning_effort=effort)


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": n}} for n in "fg"],
                },
            },
            {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choices(choice: Any, config: Json) -> None:
    """
    Each way to choose tools has a mode, and is read back from it.
    """
    tools = [{"type": "function", "function": {"name": name}} for name in "fg"]
    body = written(tools=tools, tool_choice=choice)

    assert config == body["toolConfig"]["functionCallingConfig"]
    assert choice == asked(**body)["tool_choice"]


@pytest.mark.parametrize("name", [*NEUTRAL, "service_tier", "response_format", "tool_choice"])
def test_what_cannot_be_said_is_refused_by_name(name: str) -> None:
    """
    A parameter that changes an answer and has no words here is never dropped.
    """
    with pytest.raises(BadRequest, match=name):
        written(**{name: {"type": "of another"}})


def test_what_asks_for_nothing_is_left_out() -> None:
    """
    Values that ask for what happens anyway, None, and hints do not disturb.
    """
    body = {name: value for name, values in NEUTRAL.items() for value in values[:1]}
    body |= {name: "x" for name in HINTS} | {"temperature": None}

    assert {"contents"} == written(**body).keys()


def test_schemas_go_where_any_json_schema_may() -> None:
    """
    Tools and answers take JSON schema as it is, also what Google's own `Schema` refuses.
    """
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "$defs": {}}
    function = {"name": "f", "description": "d", "parameters": schema, "strict": True}
    form = {"type": "json_schema", "json_schema": {"name": "n", "description": "what", "schema": schema}}
    body = written(tools=[{"type": "function", "function": function}], response_format=form)

    assert [{"name": "f", "description": "d", "parametersJsonSchema": schema}] == body["tools"][0][
        "functionDeclarations"
    ]
    assert {"description": "what"} | schema == body["generationConfig"]["responseJsonSchema"]
    assert "application/json" == body["generationConfig"]["responseMimeType"]


def test_turns() -> None:
    """
    Instructions are gathered in front, neighbours of one role are one turn, and an empty turn is none.
    """
    body = written(
        messages=[
            {"role": "system", "content": "a"},
            {"role": "user", "content": "b", "name": "ann"},
            {"role": "developer", "content": [{"type": "text", "text": "c"}]},
            {"role": "user", "content": "d"},
            {"role": "assistant", "content": None, "reasoning_content": "another model's"},
            {"role": "assistant", "content": "e", "refusal": "f"},
        ]
    )

    assert {"parts": [{"text": "a"}, {"text": "c"}]} == body["systemInstruction"]
    assert [
        {"role": "user", "parts": [{"text": "b"}, {"text": "d"}]},
        {"role": "model", "parts": [{"text": "e"}, {"text": "f"}]},
    ] == body["contents"]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA=", "detail": "low"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAA="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.test/a.JPG?b=1"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/a.JPG?b=1"}},
        ),
        ({"type": "image_url", "image_url": {"url": "gs://b/a"}}, {"fileData": {"fileUri": "gs://b/a"}}),
        (
            {"type": "input_audio", "input_audio": {"data": "AAA=", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAA="}},
        ),
        (
            {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/plain,a%20b"}},
            {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}},
        ),
        (
            {"type": "file", "file": {"file_id": "https://g.test/files/1", "format": "video/mp4"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://g.test/files/1"}},
        ),
        (
            {"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}},
            {"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}},
        ),
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            {"text": "a"},
        ),
    ],
)
def test_parts(part: Json, expected: Json) -> None:
    """
    Bytes go inline, addresses as files with the type that they show; Google's own parts as they are.
    """
    assert [expected] == contents({"role": "user", "content": [part]})[0]["parts"]


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({"role": "user", "content": [{"type": "hologram"}]}, r"messages\[0\].*hologram"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}, "media type"),
        ({"role": "judge", "content": "x"}, "judge"),
        ({"role": "tool", "tool_call_id": "c9", "content": "x"}, "c9"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
        ({"content": "x"}, "role"),
        ({"role": "assistant", "audio": {"id": "a"}}, "audio"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}, r"messages\[0\]"),
        ({"role": "system", "content": "only this"}, "at least one message"),
    ],
)
def test_messages_that_cannot_be_said(message: Json, match: str) -> None:
    """
    A message that Gemini cannot be told is refused, with its number and what is wrong.
    """
    with pytest.raises(BadRequest, match=match):
        contents(message)


def tool_turn(*ids: str) -> list[Json]:
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id in ids]
    return [USER, {"role": "assistant", "content": None, "tool_calls": calls}]


def test_results_of_one_turn_are_given_together() -> None:
    """
    Results become one turn under the names of their tools: objects as they are, texts as `output`.
    """
    said = contents(
        *tool_turn("a", "b"),
        {"role": "tool", "tool_call_id": "b", "content": '{"x": 1}'},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "[1]"}]},
        {"role": "user", "content": "go on"},
    )[2]

    assert [
        {"functionResponse": {"id": "b", "name": "f", "response": {"x": 1}}},
        {"functionResponse": {"id": "a", "name": "f", "response": {"output": "[1]"}}},
        {"text": "go on"},
    ] == said["parts"]


def test_results_without_ids_stand_in_the_order_of_their_calls() -> None:
    """
    Google tells calls apart by their order where it gave them no ids; results that come in another order are sorted.
    """
    message = of_parts(*({"functionCall": {"name": "f", "args": {"n": n}}} for n in (1, 2))).message
    first, second = (call["id"] for call in message["tool_calls"])
    said = contents(
        USER,
        message,
        {"role": "tool", "tool_call_id": second, "content": "two"},
        {"role": "tool", "tool_call_id": first, "content": "one"},
    )[2]["parts"]

    assert ["one", "two"] == [part["functionResponse"]["response"]["output"] for part in said]
    assert all("id" not in part["functionResponse"] for part in said)


@pytest.mark.parametrize(("model", "inside"), [("gemini-3-flash-preview", True), ("gemini-2.5-flash", False)])
def test_images_that_a_tool_brings(model: str, inside: bool) -> None:
    """
    Gemini 3 takes an image as part of a result; for older ones it stands beside it.
    """
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA="}}
    result = {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "see"}, image]}
    said = contents(*tool_turn("a"), result, model=model)[2]["parts"]
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAA="}}

    assert {"output": "see"} == said[0]["functionResponse"]["response"]
    assert ([blob], []) == (said[0]["functionResponse"].get("parts"), said[1:]) or not inside
    assert [blob] == said[1:] or inside


def test_arguments_that_are_no_object_are_wrapped() -> None:
    """
    What a model wrote in place of arguments is shown to it again, not lost.
    """
    message = tool_turn("a")[1]
    message["tool_calls"][0]["function"]["arguments"] = "{broken"

    assert {"INVALID_JSON": "{broken"} == contents(USER, message)[1]["parts"][0]["functionCall"]["args"]


# --- requests, read ---------------------------------------------------------------------------------------------------


def test_a_request_is_read() -> None:
    """
    What google-genai sends becomes OpenAI's, in either spelling of the names.
    """
    body = asked(
        model="models/gemini-x",
        system_instruction={"parts": [{"text": "brief"}], "role": "user"},
        contents=[
            {"role": "user", "parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": "A-_="}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"snake_case": None}}}]},
            {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"output": "ok"}}}]},
        ],
        generation_config={
            "max_output_tokens": 5,
            "stop_sequences": ["x"],
            "response_mime_type": "application/json",
            "response_schema": {"type": "STRING", "nullable": True},
            "thinking_config": {"include_thoughts": True, "thinking_level": "HIGH"},
            "media_resolution": "MEDIA_RESOLUTION_LOW",
        },
        tools=[
            {
                "google_search": {},
                "function_declarations": [
                    {"name": "f", "parameters": {"type": "OBJECT", "properties": {"type": {"type": "INTEGER"}}}}
                ],
            }
        ],
        tool_config={"function_calling_config": {"mode": "none"}},
        safety_settings=[],
    )

    system, user, assistant, tool = body.pop("messages")
    assert {"role": "system", "content": "brief"} == system
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,A+/="}}
    assert {"role": "user", "content": [{"type": "text", "text": "a"}, image]} == user
    assert {"snake_case": None} == json.loads(assistant["tool_calls"][0]["function"]["arguments"])
    id = assistant["tool_calls"][0]["id"]
    assert {"role": "tool", "tool_call_id": id, "content": "ok"} == tool
    schema = {"type": ["string", "null"]}
    assert {
        "max_completion_tokens": 5,
        "stop": ["x"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}},
        "reasoning_effort": "high",
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
        "tools": [
            {"googleSearch": {}},
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "parameters": {"type": "object", "properties": {"type": {"type": "integer"}}},
                },
            },
        ],
        "tool_choice": "none",
        "safetySettings": [],
    } == body


def test_results_find_their_calls() -> None:
    """
    With an id a result answers that call, without one the first of its tool that waits; one that answers none is named.
    """

    def call(name: str, **id: str) -> Json:
        return {"functionCall": {"name": name, "args": {}} | id}

    def result(name: str, said: str, **id: str) -> Json:
        return {"functionResponse": {"name": name, "response": {"output": said}} | id}

    _, assistant, *tools = asked(
        contents=[
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [call("f"), call("g", id="g1"), call("f")]},
            {
                "role": "user",
                "parts": [result("g", "b", id="g1"), result("f", "c"), result("f", "d"), result("h", "e")],
            },
        ]
    )["messages"]
    first, second, third = (call["id"] for call in assistant["tool_calls"])

    assert [(second, "b"), (first, "c"), (third, "d")] == [(t["tool_call_id"], t["content"]) for t in tools[:3]]
    assert ["h"] == [tool["name"] for tool in tools if "name" in tool]


def test_a_call_waits_no_longer_than_its_turn() -> None:
    """
    After another turn of the model a result without an id answers no call that stands before it.
    """
    call = {"functionCall": {"name": "f", "args": {}}}
    result = {"functionResponse": {"name": "f", "response": {"output": "late"}}}
    turns = [{"role": "model", "parts": [call]}, {"role": "model", "parts": [{"text": "b"}]}]

    *_, tool = asked(contents=[*turns, {"role": "user", "parts": [result]}])["messages"]

    assert "f" == tool["name"]


def test_an_id_that_looks_made_here_is_the_callers_all_the_same() -> None:
    """
    What a caller wrote goes to Google again; only an id that nobody wrote stays away.
    """
    call = {"functionCall": {"id": "call_" + "0" * 24, "name": "f", "args": {}}}

    messages = asked(contents=[{"role": "model", "parts": [call]}])["messages"]

    assert [call] == contents(*messages)[0]["parts"]


def test_a_part_that_is_no_thought_is_a_part_like_others() -> None:
    """
    Some clients say of every part that it is no thought; that says nothing.
    """
    user = {"role": "user", "parts": [{"text": "a", "thought": False}]}
    model = {"role": "model", "parts": [{"text": "b", "thought": False}]}

    assert [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ] == asked(contents=[user, model])["messages"]


def test_the_model_and_the_stream_come_from_the_address() -> None:
    """
    Whoever knows the URL adds both to the body, and they are no parameters.
    """
    request = dialect.read_request(
        "chat", {"contents": [{"parts": [{"text": "a"}]}], "model": "models/gemini-x", "stream": True}
    )

    assert ("gemini-x", True, {"messages"}) == (request.model, request.stream, set(request.body))


@pytest.mark.parametrize(
    "data", [None, [], {}, {"contents": 3}, {"contents": [{"parts": [3]}]}, {"contents": [], "tools": 3}]
)
def test_what_is_no_request_is_refused(data: Any) -> None:
    """
    A body of another shape is a bad request and nothing else.
    """
    with pytest.raises(BadRequest):
        dialect.read_request("chat", data).but()
    with pytest.raises(BadRequest):
        dialect.read_request("embed", data).but()


def test_embeddings_are_asked_for() -> None:
    """
    A text or a list of them is one batch; tokens are refused; Google's own keys go into each.
    """

    def body(**given: Any) -> Any:
        return json.loads(dialect.write_request(Request("embed", "e", given), PLAIN).body)["requests"]

    assert [{"model": "models/e", "content": {"parts": [{"text": "a"}]}}] == body(input="a", encoding_format="float")
    both = body(input=["a", "b"], dimensions=3, taskType="CLUSTERING")
    assert [("CLUSTERING", 3)] * 2 == [(one["taskType"], one["outputDimensionality"]) for one in both]
    for wrong in ([[1, 2]], 3, None):
        with pytest.raises(BadRequest, match="tokens"):
            body(input=wrong)
    single = dialect.read_request("embed", {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3})
    assert {"input": ["a"], "dimensions": 3} == single.body
    one, other = ({"content": {"parts": [{"text": text}]}, "taskType": text} for text in "ab")
    with pytest.raises(BadRequest, match="differ"):
        dialect.read_request("embed", {"requests": [one, other]}).but()


def test_predictions_are_asked_for() -> None:
    """
    What Vertex AI is asked to predict keeps its own names, and is asked for again as it was.
    """
    asked = {
        "instances": [{"content": "a", "task_type": "CLUSTERING"}, {"content": "b", "title": "t"}],
        "parameters": {"autoTruncate": False, "outputDimensionality": 3},
    }
    request = dialect.read_request("embed", asked).but()
    written = dialect.write_request(request.to("e"), Quirks(paths={"embed": "/models/{model}:predict"}))

    assert asked == json.loads(written.body)
    assert 3 == request.body["dimensions"]


# --- streams ----------------------------------------------------------------------------------------------------------


def test_arguments_that_come_in_pieces_are_put_together() -> None:
    """
    A call that is streamed argument by argument is given when it is whole.
    """

    def piece(path: str, more: bool = True, **value: Any) -> Json:
        return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": more}}

    answer = fold(
        streamed(
            event({"functionCall": {"name": "f", "id": "c1", "willContinue": True}, "thoughtSignature": "c2ln"}),
            event(piece("$.place.name", stringValue="Ro"), piece("$.place.name", stringValue="me")),
            event(piece("$.days[0].at", numberValue=1), piece("$.days[1].at", numberValue=2)),
            event(piece("$['sure']", boolValue=True), piece("$.why", nullValue="NULL_VALUE")),
            event({"functionCall": {}}),
            event({"functionCall": {"name": "g", "args": {"a": 1}}}, finish="STOP"),
        )
    )

    assert isinstance(answer, Response)
    first, second = answer.tool_calls
    assert {"place": {"name": "Rome"}, "days": [{"at": 1}, {"at": 2}], "sure": True, "why": None} == first.parsed()
    assert ("f", "c1", "g", {"a": 1}) == (first.name, first.id, second.name, second.parsed())
    assert "c2ln" in json.dumps(answer.message)
    assert "tool_calls" == answer.finish_reason


def test_the_last_count_is_the_one_that_holds() -> None:
    """
    Counts on the way are guesses, and may be higher than what is billed.
    """
    chunks = streamed(
        event({"text": "a"}, usageMetadata={"promptTokenCount": 145, "candidatesTokenCount": 9}),
        event({"text": "b"}, finish="STOP", usageMetadata={"promptTokenCount": 85, "candidatesTokenCount": 2}),
    )

    assert [None, 85] == [chunk.usage and chunk.usage.input_tokens for chunk in chunks]
    early = streamed(
        event({"text": "a"}, usageMetadata={"promptTokenCount": 3, "totalTokenCount": 3}),
        event(finish="STOP", usageMetadata={"trafficType": "ON_DEMAND"}),
    )
    assert Usage(3) == early[-1].usage


def test_an_array_is_a_stream() -> None:
    """
    Without `alt=sse` the same events come as a growing array, wherever it is cut, with braces and quotes in its texts.
    """
    events = [event({"text": 'a "}]\\ {'}), event({"text": "é\\"}, finish="STOP")]
    body = json.dumps(events, indent=1, ensure_ascii=False).encode()

    def read_array(*pieces: bytes) -> list[Chunk]:
        reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
        return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.end()

    expected = streamed(*events)
    assert expected == read_array(body) == read_array(*(body[at : at + 1] for at in range(len(body))))
    for cut in range(1, len(body)):
        assert expected == read_array(body[:cut], body[cut:]), cut


def test_a_stream_without_a_reason_is_interrupted() -> None:
    """
    Only a finish reason proves a stream whole: not its text, not its usage, not another candidate's.
    """
    for events in (
        [],
        [event({"text": "a"})],
        [event({"text": "a"}, usageMetadata={"promptTokenCount": 1})],
        [event({"text": "a"}), event({"text": "b"}, index=1, finish="STOP")],
    ):
        with pytest.raises(StreamInterrupted):
            streamed(*events)


def test_what_follows_a_reason_does_not_take_it_back() -> None:
    """
    An event behind the end, with sources or counts alone, leaves the answer whole.
    """
    grounding = {"groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://x.test"}}]}, "index": 0}
    answer = fold(
        streamed(
            event({"text": "a"}, finish="STOP"),
            {"candidates": [grounding]},
            {"usageMetadata": {"promptTokenCount": 1}},
            ending=b"data: [DONE]\n\n",
        )
    )

    assert isinstance(answer, Response)
    assert ("stop", ["https://x.test"], 1) == (answer.finish_reason, answer.citations, answer.usage.input_tokens)


def test_an_error_inside_a_stream_is_raised_after_what_came_before() -> None:
    """
    Text that came before an error is given out, and then the error, by its own status.
    """
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    error = b'data: {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}\r\n\r\n'
    chunks = reader.feed(b"data: " + json.dumps(event({"text": "a"})).encode() + b"\r\n\r\n" + error)

    assert ["a"] == [chunk.text for chunk in chunks]
    for more in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(Overloaded):
            more()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b"data: {broken}\n\n",
        b"data: 3\n\n",
        b'data: {"candidates": 3}\n\n',
        b'[{"candidates": []}, nonsense',
        b'[{"candidates": [{}]}} ',
        b'[{"candidates": 3}]',
        b'data: {"candidates": [{"content": {"parts": [{"text": 3}]}}]}\n\n',
    ],
)
def test_what_is_no_stream_is_a_protocol_error(body: bytes) -> None:
    """
    A page, and events of another shape, are told from a stream that broke off.
    """
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    with pytest.raises(ProtocolError):
        reader.feed(body)
        reader.end()


@pytest.mark.parametrize("framed", [b"%b", b"[%b", b"[%b\n]", b"data: %b\r\n\r\n"])
def test_an_error_in_place_of_a_stream_is_that_error(framed: bytes) -> None:
    """
    Whatever the content type says, an error is read in every framing that it comes in.
    """
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
    with pytest.raises(RateLimited):
        reader.feed(framed % b'{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}')


def test_nothing_in_an_array_is_trusted_to_be_small() -> None:
    """
    An object that does not end is given up before it fills the memory.
    """
    splitter = ArraySplitter()
    splitter.feed(b'[{"text": "')

    with pytest.raises(ProtocolError, match="1,048,576"):
        for _ in range(20):
            splitter.feed(b"x" * 2**16)


def test_a_stream_is_written() -> None:
    """
    Text goes out at once; calls that come in pieces, sources, reason and counts stand in the last event, with CRLF.
    """
    writer = dialect.writer(Request("chat", "asked", stream=True))
    first = writer.feed(Chunk(reasoning="hm", text="a", id="r"))
    rest = writer.feed(Chunk(tool_calls=[ToolCall("c", "f", '{"a"')], citations=["https://x.test"]))
    rest += writer.feed(Chunk(tool_calls=[ToolCall("", "", ":1}")], finish_reason="tool_calls"))
    rest += writer.feed(Chunk(usage=Usage(3, 4, reasoning_tokens=1), index=-1))

    assert first.startswith(b"data: {") and first.endswith(b"\r\n\r\n")
    parts = json.loads(first[6:])["candidates"][0]["content"]["parts"]
    assert [{"text": "hm", "thought": True}, {"text": "a"}] == parts
    assert b"" == rest
    last = json.loads(writer.end()[6:])
    assert {
        "content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}, "id": "c"}}], "role": "model"},
        "finishReason": "STOP",
        "index": 0,
        "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://x.test"}}]},
    } == last["candidates"][0]
    assert {
        "promptTokenCount": 3,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 1,
        "totalTokenCount": 7,
    } == last["usageMetadata"]
    assert ("asked", "r") == (last["modelVersion"], last["responseId"])


def test_an_error_is_written_into_a_stream_as_google_does() -> None:
    """
    google-genai knows it by how it begins.
    """
    written = dialect.writer(Request("chat", "m")).error(Overloaded("busy"))

    assert written.startswith(b'data: {"error":{"code":503,')


# --- errors -----------------------------------------------------------------------------------------------------------


DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
MINUTE = {"violations": [{"quotaId": "GenerateContentInputTokensPerModelPerMinute"}]}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failure(400, "INVALID_ARGUMENT", "no", {"reason": "API_KEY_INVALID"}), AuthenticationFailed),
        (failure(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), AuthenticationFailed),
        (failure(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), AuthenticationFailed),
        (failure(401, "UNAUTHENTICATED"), AuthenticationFailed),
        (failure(403, "PERMISSION_DENIED", "no", {"reason": "SERVICE_DISABLED"}), PermissionDenied),
        (failure(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), PermissionDenied),
        (failure(404, "NOT_FOUND", "models/x is not found for API version v1beta"), ModelNotFound),
        (failure(404, "NOT_FOUND", "CachedContent not found"), BadRequest),
        (failure(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", MINUTE), RateLimited),
        (failure(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", MINUTE, DAY), QuotaExhausted),
        (failure(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), QuotaExhausted),
        (
            failure(
                400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."
            ),
            ContextWindowExceeded,
        ),
        (failure(400, "INVALID_ARGUMENT"), BadRequest),
        (failure(503, "UNAVAILABLE"), Overloaded),
        (failure(500, "INTERNAL"), UpstreamError),
        (failure(504, "DEADLINE_EXCEEDED"), UpstreamError),
        (dialect.read_error(502, {}, b"<html>bad gateway</html>"), UpstreamError),
        (dialect.read_error(429, {"retry-after": "3"}, b""), RateLimited),
        (dialect.read_error(418, {}, b"[]"), BadRequest),
        (dialect.read_error(400, {}, b'[{"error": {"status": "UNAVAILABLE", "code": 503}}]'), Overloaded),
        (dialect.read_error(500, {}, b'{"error": {"details": 3, "message": {}, "code": "x"}}'), UpstreamError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_errors(error: GatewayError, kind: type[GatewayError]) -> None:
    """
    An error is what its details, its sentence and its status say, in this order.
    """
    assert kind is type(error)
    assert "<html>" not in error.message


def test_how_long_google_wants_to_be_left_alone() -> None:
    """
    The longest wish counts, for the detail lacks the fraction that the sentence has; a used-up day has no seconds.
    """
    retry = {"retryDelay": "48s"}

    assert 48.94 == failure(429, "RESOURCE_EXHAUSTED", "Please retry in 48.94s.", MINUTE, retry).retry_after
    assert 48 == failure(429, "RESOURCE_EXHAUSTED", "no", retry).retry_after
    assert 3 == dialect.read_error(429, {"retry-after": "3"}, b"").retry_after
    assert failure(429, "RESOURCE_EXHAUSTED", "Please retry in 48.94s.", DAY, retry).retry_after is None


def test_keys_are_not_repeated() -> None:
    """
    A key that Google repeats is not shown to anybody.
    """
    error = failure(400, "INVALID_ARGUMENT", "API key AIzaSyA1234567890123456789012345678901 not valid")

    assert "AIzaSyA" not in error.message


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (BadRequest("no"), 400, "INVALID_ARGUMENT"),
        (ContextWindowExceeded("long"), 400, "INVALID_ARGUMENT"),
        (AuthenticationFailed("no"), 401, "UNAUTHENTICATED"),
        (PermissionDenied("no"), 403, "PERMISSION_DENIED"),
        (ModelNotFound("no model x"), 404, "NOT_FOUND"),
        (RateLimited("slow", retry_after=1.5), 429, "RESOURCE_EXHAUSTED"),
        (QuotaExhausted("empty"), 429, "RESOURCE_EXHAUSTED"),
        (Overloaded("busy"), 503, "UNAVAILABLE"),
        (UpstreamError("broke"), 500, "INTERNAL"),
        (AllAttemptsFailed("all", [Overloaded("busy", retry_after=2)]), 503, "UNAVAILABLE"),
    ],
)
def test_errors_are_written(error: GatewayError, status: int, word: str) -> None:
    """
    Each error has Google's status and word, its delay where Google's clients look for it, and is read as what it was.
    """
    said, headers, body = dialect.write_error(error)
    again = dialect.read_error(said, headers, json.dumps(body).encode())

    assert (status, status, word) == (said, body["error"]["code"], body["error"]["status"])
    assert error.retry_after == again.retry_after
    assert (error.kind, type(again).kind) == (again.kind, again.kind)
