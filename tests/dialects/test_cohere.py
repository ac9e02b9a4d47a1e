"""Cohere's chat and embeddings, promise by promise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from llmgate.dialects.base import Quirks
from llmgate.dialects.cohere import Cohere
from llmgate.dialects.cohere_requests import THINKING_TOKENS
from llmgate.dialects.unsaid import HINTS, NEUTRAL
from llmgate.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
    ModelNotFound,
    Overloaded,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
)
from llmgate.types.request import Request, Verb
from llmgate.types.response import Chunk, Embeddings, Model, Models, Response, ToolCall, Value, fold

dialect = Cohere()
PLAIN = Quirks()
CHAT = Request("chat", "command-a")

Json = dict[str, Any]

HELLO = [{"role": "user", "content": "Hello"}]


def written(**body: Any) -> Json:
    body.setdefault("messages", HELLO)
    out: Json = json.loads(dialect.write_request(Request("chat", "m", body), PLAIN).body)
    del out["model"]
    return out


def sent(*messages: Json) -> list[Json]:
    out: list[Json] = written(messages=[*messages])["messages"]
    return out


def function(name: str, **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **more}}


def call(id: str = "t1", name: str = "look", arguments: str = "{}") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def event(kind: str, **more: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + json.dumps({"type": kind, **more}).encode() + b"\n\n"


def said(**content: Any) -> bytes:
    return event("content-delta", index=0, delta={"message": {"content": content}})


def ended(**delta: Any) -> bytes:
    return event("message-end", delta={"finish_reason": "COMPLETE"} | delta)


def read(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(CHAT, PLAIN)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + reader.end()


def folded(*pieces: bytes) -> Response:
    answer = fold(read(*pieces))
    assert isinstance(answer, Response)
    return answer


def answer_of(body: Json) -> Response:
    answer = dialect.read_response(CHAT, json.dumps(body).encode(), PLAIN)
    assert isinstance(answer, Response)
    return answer


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"top_p": 0.5, "top_k": 3, "temperature": 0, "seed": 7}, {"p": 0.5, "k": 3, "temperature": 0, "seed": 7}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"frequency_penalty": 0.1, "presence_penalty": 0.2}, {"frequency_penalty": 0.1, "presence_penalty": 0.2}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
        (
            {"reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "token_budget": THINKING_TOKENS["low"]}},
        ),
        (
            {"thinking": {"type": "enabled", "token_budget": 9}, "reasoning_effort": "none"},
            {"thinking": {"type": "enabled", "token_budget": 9}},
        ),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            {"response_format": {"type": "json_object", "json_schema": {"type": "object"}}},
        ),
        (
            {"documents": ["a"], "safety_mode": "NONE", "citation_options": {"mode": "FAST"}},
            {"documents": ["a"], "safety_mode": "NONE", "citation_options": {"mode": "FAST"}},
        ),
        ({"tools": [function("f", strict=True)]}, {"tools": [function("f")], "strict_tools": True}),
        ({"tools": [function("f", strict=False)], "tool_choice": "auto"}, {"tools": [function("f")]}),
        ({"tools": [function("f")], "tool_choice": "none"}, {"tools": [function("f")], "tool_choice": "NONE"}),
        ({"tool_choice": "required", "tools": [function("f")]}, {"tools": [function("f")], "tool_choice": "REQUIRED"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [function("f"), function("g")]},
            {"tools": [function("g")], "tool_choice": "REQUIRED"},
        ),
        (
            {
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function("g")]}},
                "tools": [function("f"), function("g")],
            },
            {"tools": [function("g")]},
        ),
    ],
)
def test_parameters_are_said_in_its_words(given: Json, expected: Json) -> None:
    """
    What Cohere can express goes out under its names, its own parameters as they are.
    """
    assert {"messages": HELLO} | expected == written(**given)


@pytest.mark.parametrize("name", sorted(HINTS))
def test_hints_are_left_out(name: str) -> None:
    """
    What changes no answer is left out.
    """
    assert {"messages": HELLO} == written(**{name: {"a": 1}})


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_what_cannot_be_said_is_refused_by_name(name: str) -> None:
    """
    A parameter without a word at Cohere is refused, unless its value asks for nothing.
    """
    for value in (None, *NEUTRAL[name]):
        assert {"messages": HELLO} == written(**{name: value})
    with pytest.raises(BadRequest, match=f"^{name}: "):
        written(**{name: {"x": 1}})


@pytest.mark.parametrize(
    ("named", "body"),
    [
        ("top_logprobs", {"top_logprobs": 3}),
        ("tools", {"tools": [{"type": "custom", "custom": {}}]}),
        ("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [function("f")]}),
        ("tool_choice", {"tool_choice": "perhaps"}),
        ("reasoning_effort", {"reasoning_effort": "huge"}),
        ("response_format", {"response_format": {"type": "grammar"}}),
        ("response_format", {"response_format": "json"}),
        ("tools", {"tools": 1}),
        (r"messages\[0\]", {"messages": [{"role": "critic", "content": ""}]}),
        (r"messages\[0\]", {"messages": [{"content": ""}]}),
        (r"messages\[0\]", {"messages": ["hello"]}),
        (r"messages\[0\].*'input_audio'", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
        (r"messages\[0\].*'image_url'", {"messages": [{"role": "tool", "content": [{"type": "image_url"}]}]}),
        ("messages", {"messages": []}),
        ("messages", {"messages": None}),
    ],
)
def test_what_is_wrong_is_named(named: str, body: Json) -> None:
    """
    A request that cannot be written names what is at fault.
    """
    with pytest.raises(BadRequest, match=f"^{named}"):
        written(**body)


def test_a_conversation_is_written() -> None:
    """
    Reasoning becomes thinking in front of the text, a developer speaks as the system, and calls meet their results.
    """
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}

    assert [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
        {
            "role": "assistant",
            "tool_calls": [call()],
            "tool_plan": "I look.",
            "content": [{"type": "thinking", "thinking": "hm"}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "document", "document": {"data": {}}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "Yes"}]},
        {"role": "assistant", "content": "No."},
    ] == sent(
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Look"}, image]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call()],
            "tool_plan": "I look.",
            "reasoning_content": "hm",
            "extra_content": {"google": {}},
        },
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "document", "document": {"data": {}}}]},
        {"role": "assistant", "content": "Yes", "reasoning_content": "so"},
        {"role": "assistant", "content": None, "refusal": "No."},
    )


def test_thinking_alone_is_no_text() -> None:
    """
    A turn of the model that only thought has no content, and is written back as the thought that it was.
    """
    messages = [*HELLO, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}]
    request = dialect.read_request("chat", {"messages": messages})

    assert {"role": "assistant", "content": None, "reasoning_content": "hm"} == request.body["messages"][1]
    assert messages == sent(*request.body["messages"])


def test_two_answers_cannot_be_asked_for() -> None:
    """
    One answer is what Cohere gives.
    """
    with pytest.raises(BadRequest, match=r"^n: Cohere"):
        written(n=2)


def test_quirks_and_paths_are_followed() -> None:
    """
    An upstream that departs from the format is asked in its own way; the body says whether a stream is wanted.
    """
    quirks = Quirks(rename={"p": "top_p"}, drop=frozenset({"seed"}), paths={"chat": "/chat"})
    body = {"messages": HELLO, "top_p": 1, "seed": 1}
    out = dialect.write_request(Request("chat", "m", body, stream=True), quirks)

    assert ("POST", "/chat") == (out.method, out.path)
    assert {"model": "m", "stream": True, "messages": HELLO, "top_p": 1} == json.loads(out.body)


def test_there_are_no_completions() -> None:
    """
    What Cohere has no path for is refused, written or read.
    """
    ask: tuple[Callable[[], Any], ...] = (
        lambda: dialect.write_request(Request("complete", "m", {"prompt": "x"}), PLAIN),
        lambda: dialect.read_request("complete", {"prompt": "x"}),
    )
    for asked in ask:
        with pytest.raises(BadRequest, match="complete"):
            asked()


@pytest.mark.parametrize("verb", ["chat", "embed"])
@pytest.mark.parametrize("data", [None, [], 1, {}, {"messages": 1}, {"messages": [1]}, {"texts": ""}])
def test_a_body_that_is_none_is_refused(verb: Verb, data: Any) -> None:
    """
    A server of this format answers a body that is none with a bad request.
    """
    with pytest.raises(BadRequest):
        dialect.read_request(verb, data).but()


def test_a_request_is_read_in_openais_words() -> None:
    """
    What other upstreams can do is read in the words that they know.
    """
    schema = {"type": "object"}
    request = dialect.read_request(
        "chat",
        {
            "model": "m",
            "stream": True,
            "messages": HELLO,
            "p": 0.5,
            "k": 3,
            "stop_sequences": ["x"],
            "tool_choice": "REQUIRED",
            "thinking": {"type": "disabled"},
            "response_format": {"type": "json_object", "json_schema": schema},
        },
    )

    assert ("m", True) == (request.model, request.stream)
    assert {
        "messages": HELLO,
        "top_p": 0.5,
        "top_k": 3,
        "stop": ["x"],
        "tool_choice": "required",
        "reasoning_effort": "none",
        "response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}},
    } == request.body


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"input": "a"}, {"texts": ["a"]}),
        ({"input": ["a", "b"], "dimensions": 4, "encoding_format": "base64", "user": "u"}, {"texts": ["a", "b"]}),
        ({"input": [{"content": []}]}, {"inputs": [{"content": []}]}),
        ({"input": [], "images": ["data:"], "input_type": "image"}, {"images": ["data:"], "input_type": "image"}),
        ({"input": "a", "embedding_types": ["int8"]}, {"texts": ["a"], "embedding_types": ["int8"]}),
    ],
)
def test_embeddings_are_asked_for(given: Json, expected: Json) -> None:
    """
    Texts, images and mixed inputs are asked for with what Cohere insists on; tokens are refused.
    """
    body = json.loads(dialect.write_request(Request("embed", "e", given), PLAIN).body)

    rest: Json = {"model": "e", "input_type": "search_document", "embedding_types": ["float"]}
    if "dimensions" in given:
        rest["output_dimension"] = 4
    assert rest | expected == body
    with pytest.raises(BadRequest, match=r"^input"):
        dialect.write_request(Request("embed", "e", {"input": [1, 2]}), PLAIN)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_what_was_read_counts_and_not_what_is_billed() -> None:
    """
    Tokens are those that the model read; where Cohere says only what it bills, those; where nothing, none.
    """
    message = {"finish_reason": "COMPLETE", "message": {"content": []}}
    billed = {"input_tokens": 1.0, "output_tokens": 2.0}
    both = answer_of(message | {"usage": {"billed_units": billed, "tokens": {"input_tokens": 9, "output_tokens": 3}}})
    only = answer_of(message | {"usage": {"billed_units": billed}})
    none = answer_of(message)

    assert [(9, 3), (1, 2), (None, None)] == [
        (answer.usage.input_tokens, answer.usage.output_tokens) for answer in (both, only, none)
    ]
    assert none.usage.cache_read_tokens is None


def test_citations_name_their_sources() -> None:
    """
    The addresses of what was cited stand among the citations, each once, and the citations themselves in the message.
    """
    cited = [
        {"start": 0, "sources": [{"type": "document", "document": {"url": "https://a"}}]},
        {"start": 1, "sources": [{"type": "tool", "tool_output": {"url": "https://b"}}, {"type": "tool", "id": "x"}]},
        {"start": 2, "sources": [{"type": "document", "document": {"url": "https://a"}}]},
    ]
    answer = answer_of({"finish_reason": "COMPLETE", "message": {"content": [], "citations": cited}})
    stream = [event("citation-start", index=0, delta={"message": {"citations": one}}) for one in cited]

    for given in (answer, folded(*stream, ended())):
        assert ["https://a", "https://b"] == given.citations
        assert cited == given.message["citations"]


def test_logprobs_are_openais() -> None:
    """
    Probabilities are read into OpenAI's shape, from an answer or from a stream, and written back.
    """
    items = [
        {"text": "Hi", "token_ids": [1], "logprobs": [-0.5]},
        {"text": "!?", "token_ids": [2, 3], "logprobs": [-1, -2]},
    ]
    tokens = [("Hi", -0.5), ("!?", -1), ("", -2)]
    message = {"content": [{"type": "text", "text": "Hi!?"}]}
    whole = answer_of({"finish_reason": "COMPLETE", "message": message, "logprobs": items})
    deltas = [
        event("content-delta", delta={"message": {"content": {"text": item["text"]}}}, logprobs=item) for item in items
    ]
    writer = dialect.writer(CHAT)
    again = folded(writer.feed(Chunk(whole=whole)) + writer.end())

    for answer in (whole, folded(*deltas, ended()), again, answer_of(dialect.write_response(whole))):
        entries = answer.choices[0].logprobs["content"]
        assert tokens == [(entry["token"], entry["logprob"]) for entry in entries]
        assert "Hi!?" == answer.text


@pytest.mark.parametrize(
    ("word", "finish"),
    [("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("TIMEOUT", "error"), ("ERROR_TOXIC", "content_filter")],
)
def test_an_end_is_read_and_written_back(word: str, finish: str) -> None:
    """
    A word for the end is read in OpenAI's words and written in its own, whole or streamed; an unknown one stands for itself.
    """
    answer = answer_of({"finish_reason": word, "message": {"content": []}})
    writer = dialect.writer(CHAT)

    assert (finish, word) == (answer.finish_reason, answer.choices[0].native_finish_reason)
    assert word == dialect.write_response(answer)["finish_reason"]
    assert word == folded(writer.feed(Chunk(whole=answer)) + writer.end()).choices[0].native_finish_reason
    assert "brand_new" == answer_of({"finish_reason": "BRAND_NEW", "message": {"content": "x"}}).finish_reason


def test_calls_of_the_first_version_get_ids() -> None:
    """
    Calls without ids get one each, the same whenever the answer is read, whole or as a stream.
    """
    calls = [{"name": "look", "parameters": {"at": "Rome"}}, {"name": "look", "parameters": {"at": "Oslo"}}]
    whole = {"text": "", "generation_id": "g1", "finish_reason": "COMPLETE", "tool_calls": calls}
    first = json.dumps({"event_type": "stream-start", "generation_id": "g1"}).encode() + b"\n"
    last = json.dumps({"event_type": "stream-end", "finish_reason": "COMPLETE", "response": whole}).encode()
    answer, stream = answer_of(whole), folded(first, last)

    assert answer.tool_calls == stream.tool_calls == answer_of(whole).tool_calls
    assert 2 == len({call.id for call in answer.tool_calls})
    assert [{"at": "Rome"}, {"at": "Oslo"}] == [call.parsed() for call in answer.tool_calls]


def test_what_it_has_no_words_for_is_refused() -> None:
    """
    No answer is written that Cohere's clients could not read.
    """
    with pytest.raises(BadRequest):
        dialect.write_response(Value(value=1))
    with pytest.raises(BadRequest, match="Value"):
        dialect.writer(CHAT).feed(Chunk(whole=Value(value=1)))


def test_an_answer_of_another_upstream_is_written() -> None:
    """
    Citations that are addresses and an end in OpenAI's words are written as Cohere has them.
    """
    answer = Response(id="a", usage=Embeddings().usage)
    choice = answer.choices[0]
    choice.text, choice.citations, choice.finish_reason = "Yes", ["https://a"], "length"
    out = dialect.write_response(answer)

    assert ("MAX_TOKENS", {}) == (out["finish_reason"], out["usage"])
    assert ["https://a"] == answer_of(out).citations
    assert {"models": [{"name": "m", "endpoints": ["chat"], "finetuned": False}]} == dialect.write_response(
        Models(data=[Model("m")])
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"message":{}}',
        b'{"finish_reason":"COMPLETE","message":[]}',
        b'{"text":1}',
    ],
)
def test_what_is_no_answer_is_a_protocol_error(body: bytes) -> None:
    """
    Whatever came in place of an answer, it is an error of the protocol and never an empty answer.
    """
    for verb in ("chat", "embed", "models"):
        with pytest.raises(ProtocolError):
            dialect.read_response(Request(verb, "m"), body, PLAIN)


# --- streams ----------------------------------------------------------------------------------------------------------


def test_the_plan_comes_before_the_calls() -> None:
    """
    The plan is given out whole, with what follows it, and written in front of the calls.
    """
    plan = [event("tool-plan-delta", delta={"message": {"tool_plan": text}}) for text in ("I ", "look.")]
    start = event("tool-call-start", index=0, delta={"message": {"tool_calls": call(arguments="")}})
    more = event("tool-call-delta", index=0, delta={"message": {"tool_calls": {"function": {"arguments": "{}"}}}})
    chunks = read(*plan, start, more, ended(finish_reason="TOOL_CALL"))
    writer = dialect.writer(CHAT)
    out = b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()

    assert [{"tool_plan": "I look."}] == [chunk.extra for chunk in chunks if chunk.extra]
    assert fold(chunks) == folded(out)
    assert out.index(b"tool-plan-delta") < out.index(b"tool-call-start")


def test_a_written_stream_opens_and_closes_what_it_says() -> None:
    """
    Every content and every call has its start and its end, in order, as the clients insist.
    """
    writer = dialect.writer(CHAT)
    chunks = [
        Chunk(reasoning="hm"),
        Chunk("Hel"),
        Chunk("lo"),
        *calls_in_pieces(),
        Chunk(finish_reason="tool_calls"),
    ]
    out = b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()
    events = [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: {")]

    assert [
        ("message-start", None),
        ("content-start", 0),
        ("content-delta", 0),
        ("content-end", 0),
        ("content-start", 1),
        ("content-delta", 1),
        ("content-delta", 1),
        ("content-end", 1),
        ("tool-call-start", 0),
        ("tool-call-delta", 0),
        ("tool-call-end", 0),
        ("tool-call-start", 1),
        ("tool-call-end", 1),
        ("message-end", None),
    ] == [(one["type"], one.get("index")) for one in events]
    assert out.endswith(b"data: [DONE]\n\n")


def calls_in_pieces() -> list[Chunk]:
    return [
        Chunk(tool_calls=[ToolCall("a", "look", "", 0)]),
        Chunk(tool_calls=[ToolCall("", "", "{}", 0)]),
        Chunk(tool_calls=[ToolCall("b", "look", "{}", 1)]),
    ]


def test_an_error_waits_for_what_came_before_it() -> None:
    """
    Text that came before an error is given out; the error comes when more is asked for.
    """
    reader = dialect.reader(CHAT, PLAIN)

    assert ["Hel"] == [
        chunk.text for chunk in reader.feed(said(text="Hel") + b'data: {"message":"too many tokens"}\n\n')
    ]
    with pytest.raises(ContextWindowExceeded):
        reader.feed(b"")
    with pytest.raises(ContextWindowExceeded):
        reader.end()


def test_a_wrong_call_is_an_end_and_not_an_error() -> None:
    """
    A call that the model got wrong ends the answer; a cause that is the upstream's or the caller's is raised.
    """
    wrong = folded(said(text="x"), ended(finish_reason="ERROR", error="no", error_type="INVALID_TOOL_GENERATION"))

    assert ("x", "error") == (wrong.text, wrong.finish_reason)
    with pytest.raises(Overloaded):
        folded(ended(finish_reason="ERROR", error="busy", error_type="OVERLOADED"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: [DONE]\n\n",
        said(text="x"),
        said(text="x") + b"data: [DONE]\n\n",
        said(text="x") + ended()[:-5],
        b'{"event_type":"text-generation","text":"x"}\n',
    ],
)
def test_a_stream_without_its_end_is_interrupted(body: bytes) -> None:
    """
    Only the last event proves that an answer is whole; `[DONE]` does not.
    """
    with pytest.raises(StreamInterrupted):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[1]",
        b"data: x\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b'data: {"a":1}\n\n',
        b'data: {"type":"content-delta"}\n\n',
        said(text=1),
        said(thinking=["x"]),
        b'{"event_type":"text-generation","text":1}\n',
        b'data: {"type":"tool-call-delta","index":3,"delta":{}}\n\n',
        b'data: {"type":"message-end","delta":null}\n\n',
        b"{x}\n",
        b'{"event_type":"stream-end"}\n',
    ],
)
def test_what_is_no_stream_is_a_protocol_error(body: bytes) -> None:
    """
    Whatever came in place of a stream is an error of the protocol.
    """
    with pytest.raises(ProtocolError):
        read(body)


def test_openais_end_proves_nothing() -> None:
    """
    What comes between `[DONE]` and the last event is read.
    """
    assert "xy" == folded(said(text="x") + b"data: [DONE]\n\n" + said(text="y") + ended()).text


def test_what_follows_the_end_is_ignored() -> None:
    """
    After the last event nothing is read any more; before the first, blanks are nothing.
    """
    reader = dialect.reader(CHAT, PLAIN)
    chunks = [*reader.feed(b"\r\n "), *reader.feed(said(text="x") + ended() + said(text="y")), *reader.feed(b"{}")]

    assert reader.terminated
    assert ["x"] == [chunk.text for chunk in [*chunks, *reader.end()] if chunk.text]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "meant"),
    [
        (429, "You are using a Trial key, which is limited to 40 API calls / minute.", RateLimited),
        (429, "You are using a Trial key, which is limited to 1000 API calls / month.", QuotaExhausted),
        (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081", ContextWindowExceeded),
        (400, "blocked input: please adjust your prompt", ContentFiltered),
        (498, "invalid token", ContentFiltered),
        (499, "request cancelled", UpstreamError),
        (404, "model 'x' not found, make sure the correct model ID was used", ModelNotFound),
        (401, "invalid api token", AuthenticationFailed),
        (500, "internal server error", UpstreamError),
        (503, "", Overloaded),
        (422, "invalid request: message must be at least 1 token long", BadRequest),
    ],
)
def test_errors_are_what_they_mean(status: int, message: str, meant: type[GatewayError]) -> None:
    """
    An error is classified by its sentence first and its status last, and keeps its status.
    """
    error = dialect.read_error(status, {}, json.dumps({"id": "e", "message": message}).encode())

    assert meant is type(error)
    assert status == error.status


def test_a_month_that_is_used_up_has_no_delay() -> None:
    """
    What does not come back in seconds is not waited for; a page instead of JSON is told by its status.
    """
    body = json.dumps({"message": "limited to 1000 API calls / month, try again in 3s"}).encode()

    assert dialect.read_error(429, {"retry-after": "3"}, body).retry_after is None
    assert Overloaded is type(dialect.read_error(503, {}, b"<html>busy</html>"))


@pytest.mark.parametrize(
    ("error", "as_status"),
    [
        (RateLimited("slow down", retry_after=1.5), 429),
        (QuotaExhausted("nothing left"), 402),
        (AllAttemptsFailed("all", [QuotaExhausted("nothing left")]), 402),
        (ContextWindowExceeded("beyond the context length"), 400),
        (AuthenticationFailed("who?"), 401),
        (ModelNotFound("which?"), 404),
        (UpstreamError("broken"), 502),
        (AllAttemptsFailed("all", [Overloaded("busy")]), 503),
    ],
)
def test_our_errors_are_said_in_its_words(error: GatewayError, as_status: int) -> None:
    """
    An error goes out flat, with a status that tells its sort, and in a stream as an end that its reader raises again.
    """
    status, headers, body = dialect.write_error(error)
    writer = dialect.writer(CHAT)
    stream = writer.feed(Chunk("x")) + writer.error(error)

    said: GatewayError = getattr(error, "telling", error)
    assert as_status == status
    assert {"message": error.message} == body
    assert ("2" if error.retry_after else None) == headers.get("retry-after")
    with pytest.raises(type(said)):
        read(stream)
