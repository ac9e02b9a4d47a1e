"""Bedrock's InvokeModel: what each maker's models are asked, what they answer, and how that is streamed."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import unquote

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.aws_frames import FrameParser, framed
from llmgate.errors import BadRequest, GatewayError, Overloaded, ProtocolError, RateLimited, StreamInterrupted
from llmgate.types.request import Request
from llmgate.types.response import Choice, Chunk, Embeddings, Response, ToolCall, explode, fold
from llmgate.types.usage import Usage

from . import corpus
from .corpus import PLAIN, Record, body_of, params

dialect = dialect_named("bedrock_invoke")

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
PIXTRAL = "us.mistral.pixtral-large-2502-v1:0"
COMMAND_R = "cohere.command-r-plus-v1:0"
TITAN = "amazon.titan-text-express-v1"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
MISTRAL = "mistral.mixtral-8x7b-instruct-v0:1"
COMMAND = "cohere.command-light-text-v14"
CLAUDE_2 = "anthropic.claude-v2:1"
JURASSIC = "ai21.j2-ultra-v1"
R1 = "us.deepseek.r1-v1:0"

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


def written(model: str, verb: Any = "chat", body: dict[str, Any] = ASKED, stream: bool = False) -> Any:
    out = dialect.write_request(Request(verb, model, body, stream), PLAIN)
    assert unquote(out.path) == f"/model/{model}/invoke" + ("-with-response-stream" if stream else "")
    return json.loads(out.body)


def read(model: str, body: Any, verb: Any = "chat") -> Response:
    answer = dialect.read_response(Request(verb, model), json.dumps(body).encode(), PLAIN)
    assert isinstance(answer, Response)
    return answer


def chunk_frame(event: Any) -> bytes:
    payload = {"bytes": b64encode(json.dumps(event).encode()).decode(), "p": "abcdefgh"}
    told = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return framed(told, json.dumps(payload).encode())


def exception_frame(name: str) -> bytes:
    return framed({":message-type": "exception", ":exception-type": name}, b'{"message": "slow down"}')


def read_stream(model: str, *frames: bytes, verb: Any = "chat") -> list[Chunk]:
    reader = dialect.reader(Request(verb, model, {}, True), PLAIN)
    return [chunk for frame in frames for chunk in reader.feed(frame)] + reader.end()


def folded(model: str, *events: Any) -> Response:
    answer = fold(read_stream(model, *(chunk_frame(event) for event in events)))
    assert isinstance(answer, Response)
    return answer


def same_wherever_cut(model: str, body: bytes, step: int = 1) -> None:
    whole = read_stream(model, body)
    for at in range(0, len(body), step):
        assert whole == read_stream(model, body[:at], body[at:]), at
    assert whole == read_stream(model, *(body[at : at + 1] for at in range(len(body))))


def brief(answer: Response) -> tuple[Any, ...]:
    usage = answer.usage
    return answer.text, answer.finish_reason, usage.input_tokens, usage.output_tokens


# --- chats ------------------------------------------------------------------------------------------------------------


def test_claude_is_asked_as_anthropic_asks() -> None:
    """
    The model and the stream stand in the address; version and betas stand in the body.
    """
    body = ASKED | {"betas": ["a-1"]}

    for stream in (False, True):
        assert {
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 9,
            "anthropic_version": "bedrock-2023-05-31",
            "anthropic_beta": ["a-1"],
        } == written(CLAUDE, body=body, stream=stream)


def test_nova_is_asked_as_converse_asks() -> None:
    """
    What Converse hands on to the model stands where the model itself looks for it.
    """
    own = {"inferenceConfig": {"seed": 1}, "top_k": 20}
    body = ASKED | {"temperature": 0.5, "additionalModelRequestFields": own}
    wanted = {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topK": 20, "seed": 1},
    }

    for _ in range(2):  # what is the caller's stays as it is
        assert wanted == written(NOVA, body=body)
    assert wanted == written(NOVA, body=ASKED | {"temperature": 0.5, "seed": None, "top_k": 20} | {
        "additionalModelRequestFields": {"inferenceConfig": {"seed": 1}},
    })  # fmt: skip


def test_the_others_are_asked_as_openai_asks() -> None:
    """
    Without model and stream in the body, and with the names that their makers give to the limit and to a forced call.
    """
    body = {"messages": ASKED["messages"], "max_completion_tokens": 9, "tool_choice": "required"}

    assert {"messages": ASKED["messages"], "max_tokens": 9, "tool_choice": "any"} == written(PIXTRAL, body=body)
    assert {**body} == written("openai.gpt-oss-20b-1:0", body=body, stream=True)
    assert {**body, "max_tokens": 9} == written("qwen.qwen3-32b-v1:0", body=body) | {"max_completion_tokens": 9}


def test_command_r_is_asked_in_version_1() -> None:
    """
    The last text is the message, those before it are its history, and instructions come first.
    """
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": [{"type": "text", "text": "more"}]},
    ]
    body = {"messages": messages, "max_tokens": 9, "top_p": 0.5, "stop": "|", "documents": [{"text": "d"}]}

    out = written(COMMAND_R, body=body)

    assert {
        "preamble": "be brief",
        "chat_history": [{"role": "USER", "message": "hi"}, {"role": "CHATBOT", "message": "hello"}],
        "message": "more",
        "max_tokens": 9,
        "p": 0.5,
        "stop_sequences": ["|"],
        "documents": [{"text": "d"}],
    } == out
    again = dialect.read_request("chat", out)
    assert out == written(COMMAND_R, body=again.body)
    later = written(COMMAND_R, body={"messages": [*messages[1:3], messages[0], messages[3]]})
    assert {"role": "SYSTEM", "message": "be brief"} == later["chat_history"][-1]
    assert "preamble" not in later


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"messages": [{"role": "assistant", "content": "a"}]}, "user's"),
        ({"messages": [{"role": "tool", "content": "a", "tool_call_id": "c"}]}, r"messages\[0\]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:"}]}]}, "text"),
        (ASKED | {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        (ASKED | {"response_format": {"type": "json_object"}}, "response_format"),
        (ASKED | {"n": 2}, "n"),
        ({"max_tokens": 9}, "messages"),
    ],
)
def test_what_version_1_cannot_say_is_refused(body: dict[str, Any], named: str) -> None:
    """
    A tool, an image or a schema is refused by name, and never left out.
    """
    with pytest.raises(BadRequest, match=named):
        written(COMMAND_R, body=body)


def test_a_model_that_continues_texts_takes_no_chat() -> None:
    """
    A chat would have to be laid out for such a model; the refusal names who does that. Nor does an ARN tell a maker.
    """
    for model in (TITAN, LLAMA, MISTRAL, COMMAND, JURASSIC, R1):
        with pytest.raises(BadRequest, match="Converse"):
            written(model)
    with pytest.raises(BadRequest, match="Converse"):
        written("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc")
    assert written(f"arn:aws:bedrock:us-east-1:1:inference-profile/{CLAUDE}")["anthropic_version"]
    assert written(CLAUDE_2)["anthropic_version"]  # it does both


def test_who_speaks_a_makers_words_is_sent_on_word_for_word() -> None:
    """
    A body in the words that the model takes goes out as it came, and its answer may be handed on; another is translated.
    """
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    for model, body in SPOKEN.items():
        request = dialect.read_request("chat", {**body, "modelId": model})
        verb = request.verb
        for target in (model, arn):
            assert body == json.loads(dialect.write_request(request.to(target), PLAIN).body)
        assert request.spoken == dialect.format(verb, model)
        assert request.spoken not in [dialect.format(verb, other) for other in SPOKEN if other != model]

    with pytest.raises(BadRequest, match=r"^x: only bedrock_invoke has a word for it"):
        dialect.write_request(dialect.read_request("chat", SPOKEN[CLAUDE]).to(NOVA), PLAIN)
    claude = dialect.read_request("chat", {name: value for name, value in SPOKEN[CLAUDE].items() if name != "x"})
    assert "inferenceConfig" in json.loads(dialect.write_request(claude.to(NOVA), PLAIN).body)
    assert claude.spoken != dialect.format("chat", NOVA)
    assert "bedrock" == dialect.format("embed", "amazon.titan-embed-text-v2:0")


SPOKEN: dict[str, dict[str, Any]] = {
    CLAUDE: {"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["a"], "max_tokens": 9, "x": 1, "messages": [{"role": "user", "content": "hi"}]},
    NOVA: {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"max_new_tokens": 1}},
    PIXTRAL: {"messages": [{"role": "user", "content": "hi"}], "x": 1},
    COMMAND_R: {"message": "hi", "chat_history": [{"role": "User", "message": "a"}], "tools": [{"name": "f"}]},
    TITAN: {"inputText": "hi", "textGenerationConfig": {"x": 1}},
    LLAMA: {"prompt": "hi", "temperature": 1},
    MISTRAL: {"prompt": "hi", "max_tokens": 1, "x": 1},
    COMMAND: {"prompt": "hi", "k": 1},
}  # fmt: skip


def test_an_answer_is_given_in_the_words_of_the_question() -> None:
    """
    Whichever model answered, who asked in a maker's words is answered in them, whole and as a stream.
    """
    answer = Response(id="1", model=NOVA, choices=[Choice(text="Hi", finish_reason="stop")], usage=Usage(1, 2))
    keys = {
        CLAUDE: "content",
        NOVA: "output",
        PIXTRAL: "choices",
        COMMAND_R: "text",
        TITAN: "results",
        LLAMA: "generation",
    }

    for model, key in keys.items():
        request = dialect.read_request("chat", {**SPOKEN[model], "modelId": "fast"})
        assert key in dialect.write_response(answer, request)
        writer = dialect.writer(request)
        assert "Hi" == fold(read_stream("m", writer.feed(Chunk(whole=answer)), writer.end())).text  # type: ignore[attr-defined]
        answer.model = model
        assert key in dialect.write_response(answer)


# --- completions ------------------------------------------------------------------------------------------------------


PROMPT: dict[str, Any] = {"prompt": "Say", "max_tokens": 9, "temperature": 0, "top_p": 0.5}
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 2, "firstByteLatency": 1}}

COMPLETIONS: dict[str, tuple[Any, Any, list[Any]]] = {
    TITAN: (
        {"inputText": "Say", "textGenerationConfig": {"maxTokenCount": 9, "temperature": 0, "topP": 0.5, "stopSequences": ["|"]}},
        {"inputTextTokenCount": 3, "results": [{"tokenCount": 2, "outputText": "Hello", "completionReason": "LENGTH"}]},
        [
            {"outputText": "Hel", "index": 0.0, "totalOutputTextTokenCount": None, "completionReason": None, "inputTextTokenCount": 3.0},
            {"outputText": "lo", "index": 0.0, "totalOutputTextTokenCount": 2.0, "completionReason": "LENGTH", "inputTextTokenCount": 3.0},
        ],
    ),
    LLAMA: (
        {"prompt": "Say", "max_gen_len": 9, "temperature": 0, "top_p": 0.5},
        {"generation": "Hello", "prompt_token_count": 3, "generation_token_count": 2, "stop_reason": "length"},
        [
            {"generation": "Hel", "prompt_token_count": 3, "generation_token_count": 1, "stop_reason": None},
            {"generation": "lo", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": "length"} | METRICS,
        ],
    ),
    MISTRAL: (
        {"prompt": "Say", "max_tokens": 9, "temperature": 0, "top_p": 0.5, "stop": ["|"]},
        {"outputs": [{"text": "Hello", "stop_reason": "length"}]},
        [
            {"outputs": [{"text": "Hel", "stop_reason": None}]},
            {"outputs": [{"text": "lo", "stop_reason": "length"}]} | METRICS,
        ],
    ),
    COMMAND: (
        {"prompt": "Say", "max_tokens": 9, "temperature": 0, "p": 0.5, "stop_sequences": ["|"]},
        {"id": "a", "generations": [{"id": "b", "text": "Hello", "finish_reason": "MAX_TOKENS"}], "prompt": "Say"},
        [
            {"is_finished": False, "text": "Hel"},
            {"is_finished": False, "text": "lo"},
            {"is_finished": True, "finish_reason": "MAX_TOKENS"} | METRICS,
        ],
    ),
    CLAUDE_2: (
        {"prompt": "Say", "max_tokens_to_sample": 9, "temperature": 0, "top_p": 0.5, "stop_sequences": ["|"]},
        {"completion": "Hello", "stop_reason": "max_tokens", "stop": None},
        [
            {"completion": "Hel", "stop_reason": None, "stop": None},
            {"completion": "lo", "stop_reason": "max_tokens", "stop": None} | METRICS,
        ],
    ),
    JURASSIC: (
        {"prompt": "Say", "maxTokens": 9, "temperature": 0, "topP": 0.5, "stopSequences": ["|"]},
        {"id": 1, "prompt": {"text": "Say"}, "completions": [{"data": {"text": "Hello"}, "finishReason": {"reason": "length"}}]},
        [],
    ),
    R1: (
        {"prompt": "Say", "max_tokens": 9, "temperature": 0, "top_p": 0.5, "stop": ["|"]},
        {"choices": [{"text": "Hello", "stop_reason": "length"}]},
        [
            {"choices": [{"text": "Hel", "stop_reason": None}]},
            {"choices": [{"text": "lo", "stop_reason": "length"}]} | METRICS,
        ],
    ),
}  # fmt: skip
"""By model: what is sent, what comes back, and how that is streamed."""

MAKERS = [pytest.param(model, id=model) for model in COMPLETIONS]


@pytest.mark.parametrize("model", MAKERS)
def test_a_completion_is_asked_for_in_the_makers_words(model: str) -> None:
    """
    OpenAI's parameters go by the names of the model's maker; the same body, read, asks for the same.
    """
    body = PROMPT | ({} if model == LLAMA else {"stop": "|"})
    sent = COMPLETIONS[model][0]

    assert sent == written(model, "complete", body)
    request = dialect.read_request("complete", sent)
    assert "complete" == request.verb
    assert {**body, "stop": ["|"]} == {"stop": ["|"], **request.body}
    assert sent == written(model, "complete", request.body)


@pytest.mark.parametrize("model", MAKERS)
def test_a_completion_is_read_by_its_keys(model: str) -> None:
    """
    Text, reason and, where the body has them, counts are found whoever is said to have answered.
    """
    _, whole, events = COMPLETIONS[model]
    counted = (3, 2) if model in (TITAN, LLAMA) else (None, None)

    for name in (model, "m"):
        answer = read(name, whole, "complete")
        assert ("Hello", "length", *counted) == brief(answer)
        assert answer.choices[0].native_finish_reason in (None, "LENGTH", "MAX_TOKENS", "max_tokens")
        if events:
            answer = folded(name, *events)
            assert ("Hello", "length", 3, 2) == brief(answer)
            assert 1 == len(answer.choices)


@pytest.mark.parametrize("model", [param for param in MAKERS if param.values[0] != R1])
def test_a_written_completion_is_read_as_it_was(model: str) -> None:
    """
    What a maker would send is what was to be said, whole as well as streamed.
    """
    for finish in ("stop", "length"):
        usage = Usage(3, 2) if model in (TITAN, LLAMA) else Usage()
        answer = Response(model=model, choices=[Choice(text="Hello", finish_reason=finish)], usage=usage)
        body = dialect.write_response(answer)

        assert COMPLETIONS[model][1].keys() >= body.keys() - {"id"}
        assert brief(answer) == brief(read(model, body))
        for pieces in (explode(answer), [Chunk(whole=answer)]) if COMPLETIONS[model][2] else ():
            writer = dialect.writer(Request("complete", model, {}, True))
            frames = [*(writer.feed(piece) for piece in pieces), writer.end()]
            assert brief(answer) == brief(fold(read_stream(model, *frames)))  # type: ignore[arg-type]


def test_what_a_maker_has_no_word_for_is_refused() -> None:
    """
    A parameter that changes the answer is refused by name, unless its value asks for nothing; a maker's own passes.
    """
    for name, value in {"stop": "|", "seed": 1, "n": 2, "echo": True, "suffix": "!"}.items():
        with pytest.raises(BadRequest, match=name):
            written(LLAMA, "complete", PROMPT | {name: value})
    for prompt in (["a", "b"], [1, 2]):
        with pytest.raises(BadRequest, match="prompt"):
            written(LLAMA, "complete", {"prompt": prompt})
    with pytest.raises(BadRequest, match="prompt"):
        written(LLAMA, "complete", {})
    with pytest.raises(BadRequest, match="chats"):
        written(CLAUDE, "complete", PROMPT)

    sent = written(
        LLAMA, "complete", {"prompt": ["Say"], "n": 1, "echo": False, "user": "u", "images": ["i"], "stop": None}
    )
    assert {"prompt": "Say", "images": ["i"]} == sent
    own = {"textGenerationConfig": {"maxTokenCount": 1, "other": 2}}
    config = written(TITAN, "complete", PROMPT | own)["textGenerationConfig"]
    assert {"maxTokenCount": 1, "other": 2, "temperature": 0, "topP": 0.5} == config


def test_command_is_told_of_a_stream_and_of_several_answers() -> None:
    """
    Command wants the stream said in the body as well, and gives as many answers as it is asked for, each by its number.
    """
    sent = written(COMMAND, "complete", {"prompt": "Say", "n": 2}, stream=True)
    answer = folded(
        COMMAND,
        {"index": 0, "is_finished": False, "text": "a"},
        {"index": 1, "is_finished": False, "text": "b"},
        {"index": 0, "is_finished": False, "text": "c"},
        {"is_finished": True, "finish_reason": "COMPLETE"},
    )

    assert {"prompt": "Say", "num_generations": 2, "stream": True} == sent
    assert [("ac", "stop", "COMPLETE"), ("b", "stop", "COMPLETE")] == [
        (choice.text, choice.finish_reason, choice.native_finish_reason) for choice in answer.choices
    ]


# --- answers of chats -------------------------------------------------------------------------------------------------


MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "tool_use",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0},
}  # fmt: skip
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}, {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}]}},
    "stopReason": "tool_use",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokenCount": 4, "cacheWriteInputTokenCount": 0},
}  # fmt: skip
OPENAIS = {
    "id": "c1", "object": "chat.completion", "model": "x",
    "choices": [{
        "index": 0, "stop_reason": "tool_calls",
        "message": {"role": "assistant", "content": "Hi", "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        ]},
    }],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2},
}  # fmt: skip


@pytest.mark.parametrize(("model", "body"), [(CLAUDE, MESSAGE), (NOVA, CONVERSED), (PIXTRAL, OPENAIS)])
def test_an_answer_is_read_by_its_keys(model: str, body: Any) -> None:
    """
    Anthropic's, Converse's and OpenAI's answers are told apart by what stands in them, and not by the model's name.
    """
    for name in (model, "m"):
        answer = read(name, body)

        assert ("Hi", "tool_calls", 7, 2) == brief(answer)
        assert [("t1", "f", {"a": 1})] == [(call.id, call.name, call.parsed()) for call in answer.tool_calls]
    assert ("hm" if body is MESSAGE else "") == answer.reasoning


def test_an_answer_of_version_1_is_read() -> None:
    """
    Command R says its text without a message around it; it names no model, so the one that was asked stands there.
    """
    answer = read(COMMAND_R, {"response_id": "r", "text": "Hi", "generation_id": "g", "finish_reason": "MAX_TOKENS"})

    assert ("Hi", "length", None, None) == brief(answer)
    assert COMMAND_R == answer.model


STREAMS: dict[str, list[Any]] = {
    CLAUDE: [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"} | METRICS,
    ],
    NOVA: [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}, "amazon-bedrock-guardrailAction": "NONE"},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "t1", "name": "f"}}, "contentBlockIndex": 1}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"a":1}'}}, "contentBlockIndex": 1}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": CONVERSED["usage"], "metrics": {}}} | METRICS,
    ],
    PIXTRAL: [
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "stop_reason": None}]},
        {"choices": [{"index": 0, "message": OPENAIS["choices"][0]["message"] | {"content": ""}, "stop_reason": "tool_calls"}]}  # type: ignore[index]
        | {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 2, "cacheReadInputTokenCount": 4}},
    ],
    COMMAND_R: [
        {"event_type": "stream-start", "is_finished": False, "generation_id": "g"},
        {"event_type": "text-generation", "is_finished": False, "text": "Hi"},
        {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", "response": {
            "generation_id": "g", "text": "Hi", "finish_reason": "COMPLETE",
            "tool_calls": [{"name": "f", "parameters": {"a": 1}}], "meta": {"tokens": {"input_tokens": 7, "output_tokens": 2}},
        }},
    ],
}  # fmt: skip


@pytest.mark.parametrize("model", STREAMS)
def test_a_stream_is_read_by_its_first_event(model: str) -> None:
    """
    Whose events they are, the first one tells; together they say what the whole answer says, wherever they are cut.
    """
    for name in (model, "m"):
        answer = folded(name, *STREAMS[model])

        assert ("Hi", "tool_calls", 7, 2) == brief(answer)
        assert [("f", {"a": 1})] == [(call.name, call.parsed()) for call in answer.tool_calls]
    frames = [chunk_frame(event) for event in STREAMS[model]]
    assert len(frames) == len(read_stream(model, *frames))
    same_wherever_cut(model, b"".join(frames))


@pytest.mark.parametrize("model", STREAMS)
def test_a_stream_without_its_end_is_no_answer(model: str) -> None:
    """
    A stream that ends before its maker said so, in an event or between two, is an error.
    """
    frames = [chunk_frame(event) for event in STREAMS[model]]
    ends = {NOVA: -2}.get(model, -1)  # of Nova's the usage comes behind the end
    for kept in ([], frames[:1], frames[:ends], [*frames[:-1], frames[-1][:-3]]):
        with pytest.raises(StreamInterrupted):
            read_stream(model, *kept)


@pytest.mark.parametrize("model", [LLAMA, COMMAND, R1])
def test_a_completion_without_its_end_is_no_answer(model: str) -> None:
    """
    A completion is whole when it has said why it ended, and nothing else has begun.
    """
    frames = [chunk_frame(event) for event in COMPLETIONS[model][2]]
    for kept in ([], frames[:-1], [*frames, frames[0][:-3]]):
        with pytest.raises(StreamInterrupted):
            read_stream(model, *kept)


@pytest.mark.parametrize("model", [*STREAMS, LLAMA])
def test_an_exception_in_a_stream_is_an_error(model: str) -> None:
    """
    What came before an exception is given out first; then it is raised, in the class that its name means.
    """
    event = COMPLETIONS[model][2][0] if model in COMPLETIONS else STREAMS[model][0]
    body = chunk_frame(event) + exception_frame("throttlingException") + chunk_frame(event)
    reader = dialect.reader(Request("chat", model, {}, True), PLAIN)

    assert reader.feed(body)
    for _ in range(2):
        with pytest.raises(RateLimited, match="slow down"):
            reader.feed(b"")
            reader.end()


def test_an_error_of_the_makers_is_one() -> None:
    """
    An error inside of an event is what it means to its maker, after what was said before it.
    """
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    reader = dialect.reader(Request("chat", CLAUDE, {}, True), PLAIN)

    assert 3 == len(reader.feed(b"".join(chunk_frame(event) for event in [*STREAMS[CLAUDE][:3], error])))
    with pytest.raises(Overloaded):
        reader.end()
    failed = {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 429, "message": "slow"}}]
    }
    reader = dialect.reader(Request("chat", PIXTRAL, {}, True), PLAIN)
    assert 1 == len(reader.feed(chunk_frame(STREAMS[PIXTRAL][0]) + chunk_frame(failed)))
    for ask in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(RateLimited):
            ask()


@pytest.mark.parametrize("event", [{"nobody": 1}, [], {"generation": 7}, {"outputs": 1}, {"choices": [1]}])
def test_events_of_nobody_are_none(event: Any) -> None:
    """
    An event in no known words, or misshapen, is an error and no crash.
    """
    with pytest.raises(ProtocolError):
        read_stream("m", chunk_frame(event))
    with pytest.raises(GatewayError):
        read_stream("m", framed({":event-type": "chunk", ":message-type": "event"}, b'{"bytes": "!"}'))


@pytest.mark.parametrize(
    "body", [{"nobody": 1}, [], {"generation": 7}, {"outputs": 1}, {"choices": []}, {"type": "message"}]
)
def test_answers_of_nobody_are_none(body: Any) -> None:
    """
    A body in no known words, or misshapen, is an error and no crash; one that tells of an error is that error.
    """
    with pytest.raises(ProtocolError):
        read("m", body)
    with pytest.raises(ProtocolError):
        dialect.read_response(Request("chat", "m"), b"<html>", PLAIN)
    with pytest.raises(BadRequest):
        read("m", {"Output": {"__type": "ValidationException", "message": "no"}})


@pytest.mark.parametrize("model", [CLAUDE, NOVA, PIXTRAL, COMMAND_R])
def test_a_written_answer_is_read_as_it_was(model: str) -> None:
    """
    What a server of Amazon's would send for a model is what was to be said, whole as well as streamed.
    """
    calls = [] if model == COMMAND_R else [ToolCall("t1", "f", '{"a":1}')]
    finish = "tool_calls" if calls else "stop"
    counts = Usage() if model == COMMAND_R else Usage(7, 2)
    answer = Response(
        id="1", model=model, choices=[Choice(text="Hi", tool_calls=calls, finish_reason=finish)], usage=counts
    )
    body = {"stream_options": {"include_usage": True}}

    assert brief(answer) == brief(read(model, dialect.write_response(answer)))
    for pieces in (explode(answer), [Chunk(whole=answer)]):
        writer = dialect.writer(Request("chat", model, body, True))
        frames = [*(writer.feed(piece) for piece in pieces), writer.end()]
        kinds = [told[":event-type"] for told, _ in FrameParser().feed(b"".join(frames))]
        again = fold(read_stream(model, *frames))

        assert {"chunk"} == {*kinds}
        assert brief(answer) == brief(again)  # type: ignore[arg-type]
        assert calls == again.tool_calls  # type: ignore[attr-defined]
    error = dialect.writer(Request("chat", model, {}, True)).error(RateLimited("slow down"))
    with pytest.raises(RateLimited):
        read_stream(model, error)


def test_embeddings_are_those_of_bedrock() -> None:
    """
    A model that embeds is invoked either way.
    """
    sent = dialect.write_request(Request("embed", "amazon.titan-embed-text-v2:0", {"input": "a"}), PLAIN)
    answer = dialect.read_response(Request("embed", "m"), b'{"embedding": [1.0], "inputTextTokenCount": 2}', PLAIN)

    assert {"inputText": "a"} == json.loads(sent.body)
    assert isinstance(answer, Embeddings)
    assert [[1.0]] == answer.vectors
    assert ["a"] == dialect.read_request("embed", {"inputText": "a"}).body["input"]


@pytest.mark.parametrize(
    ("body", "verb", "seen"),
    [
        ({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["b"]},
         "chat", {"betas": ["b"], "max_tokens": 1}),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"max_new_tokens": 1, "topK": 2}},
         "chat", {"max_tokens": 1, "inferenceConfig": {"topK": 2}}),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "chat", {}),
        ({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}, "chat", {"max_tokens": 1}),
        ({"message": "hi", "p": 0.5}, "chat", {"top_p": 0.5}),
        ({"prompt": "hi", "max_gen_len": 1}, "complete", {"prompt": "hi", "max_tokens": 1}),
        ({"prompt": "hi", "p": 1, "num_generations": 2}, "complete", {"prompt": "hi", "top_p": 1, "n": 2}),
        ({"inputText": "hi", "textGenerationConfig": {"topP": 1, "x": 2}}, "complete",
         {"prompt": "hi", "top_p": 1, "textGenerationConfig": {"x": 2}}),
    ],
)  # fmt: skip
def test_what_is_asked_tells_by_its_keys_whom(body: Any, verb: str, seen: Any) -> None:
    """
    A body that somebody invokes a model with is read in the words in which it is written.
    """
    request = dialect.read_request("chat", body)

    assert verb == request.verb
    if verb == "chat":
        assert "hi" == request.body["messages"][-1]["content"]
    assert seen == {name: value for name, value in request.body.items() if name != "messages"}


def test_what_is_no_request_is_refused() -> None:
    """
    Neither a list nor a body without a prompt is a request.
    """
    for body in ([], {}, {"messages": 1}, {"prompt": None, "inputText": None, "textGenerationConfig": 1}):
        with pytest.raises(BadRequest):
            assert dialect.read_request("chat", body).body


# --- recorded ---------------------------------------------------------------------------------------------------------


RECORDS = [record for record in corpus.lines("bedrock") if record["kind"] == "invoke"]
ANSWERED = [record for record in RECORDS if record["response_status"] == 200]
FAILED = [record for record in RECORDS if record["response_status"] != 200]


def model_of(record: Record) -> str:
    return unquote(record["url"].split("/")[-2])


def events_of(record: Record) -> list[dict[str, Any]]:
    """What Amazon's own SDK takes out of its frames; of a whole answer its body."""
    if not record["streaming"]:
        return [json.loads(body_of(record))]
    eventstream = pytest.importorskip("botocore.eventstream")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(body_of(record))
    return [json.loads(b64decode(json.loads(event.payload)["bytes"])) for event in buffer]


TEXTS = ("outputText", "generation", "completion")


def spoken(event: Any) -> str:
    """The text of an answer or an event, read as plainly as can be: whatever is called text, wherever it stands."""
    match event:
        case {"type": "thinking_delta"} | {"type": "thinking"}:
            return ""
        case {"output": {"message": {"content": parts}}} | {"content": [*parts]}:
            return "".join(part.get("text", "") for part in parts)
        case {"results": parts} | {"outputs": parts} | {"generations": parts}:
            return "".join(part.get("text") or part.get("outputText") or "" for part in parts)
        case {"contentBlockDelta": {"delta": delta}} | {"delta": delta}:
            return spoken(delta)
    return next((event[name] for name in (*TEXTS, "text") if isinstance(event.get(name), str)), "")


@corpus.needed
@pytest.mark.parametrize("record", params(ANSWERED))
def test_recorded_answers_say_what_was_said(record: Record) -> None:
    """
    Text, reason and counts of a recorded answer are those that stand in it, and every call has its name and arguments.
    """
    model, body = model_of(record), body_of(record)
    answer = fold(read_stream(model, body)) if record["streaming"] else read(model, json.loads(body))
    assert isinstance(answer, Response)
    events = events_of(record)
    raw = json.dumps(events)

    assert (
        "".join(spoken(event) for event in events if event.get("index", 0) in (0, 0.0) or "type" in event)
        == answer.text
    )
    assert answer.finish_reason in ("stop", "length", "tool_calls")
    assert f'"{answer.choices[0].native_finish_reason or answer.finish_reason}"' in raw
    if '"inputTokenCount"' in raw or "okens" in raw or "token_count" in raw:
        assert answer.usage.input_tokens
    assert raw.count('"toolUseId"') + raw.count('"type": "tool_use"') == len(answer.tool_calls)
    assert all(isinstance(corpus.parsed(call), dict) and call.name and call.id for call in answer.tool_calls)


@corpus.needed
@pytest.mark.parametrize("record", params(record for record in ANSWERED if record["streaming"]))
def test_recorded_streams_mean_the_same_wherever_they_are_cut(record: Record) -> None:
    """
    Cut in two anywhere, or into single bytes, a stream gives the same chunks, with calls that are numbered.
    """
    body = body_of(record)

    same_wherever_cut(model_of(record), body, 1 + len(body) // 40)
    corpus.calls_are_numbered(read_stream(model_of(record), body))


@corpus.needed
@pytest.mark.parametrize("record", params(record for record in RECORDS if record["request_json"]))
def test_recorded_requests_pass_through_openais_shape(record: Record) -> None:
    """
    A recorded request goes to the same address again and asks for the same.
    """
    given = record["request_json"]
    request = dialect.read_request("chat", given).to(model_of(record))
    request.stream = record["url"].endswith("-stream")
    out = dialect.write_request(request, PLAIN)

    assert unquote(record["url"]).endswith(unquote(out.path))
    again = dialect.read_request("chat", json.loads(out.body))
    assert (request.verb, apart(request.body)) == (again.verb, apart(again.body))
    assert given.keys() - {"stream"} == json.loads(out.body).keys() - {"stream"}


def apart(body: dict[str, Any]) -> tuple[Any, ...]:
    """The body without its instructions, for which Anthropic and Amazon have a place of their own."""
    rest = {name: value for name, value in body.items() if name != "messages"}
    return rest, [message for message in body.get("messages", ()) if message["role"] != "system"]


@corpus.needed
@pytest.mark.parametrize("record", params(FAILED))
def test_recorded_failures_are_errors(record: Record) -> None:
    """
    A recorded failure is an error of the class that it means, also in place of an answer or of a stream.
    """
    body = body_of(record)
    error = dialect.read_error(record["response_status"], record["response_headers"], body)

    assert record["expected"]["error"]["message"].endswith(error.message)
    assert not error.again
    with pytest.raises(GatewayError):
        read_stream("m", body)
    with pytest.raises(GatewayError):
        dialect.read_response(Request("chat", "m"), body, PLAIN)
