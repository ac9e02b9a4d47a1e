"""Ollama's own API, promise by promise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects.base import Quirks
from llmgate.dialects.ollama import Ollama
from llmgate.dialects.ollama_requests import EFFORTS, OPTIONS
from llmgate.dialects.openai_words import MADE_ID
from llmgate.dialects.unsaid import HINTS, NEUTRAL
from llmgate.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadRequest,
    ContextWindowExceeded,
    GatewayError,
    ModelNotFound,
    Overloaded,
    ProtocolError,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
)
from llmgate.types.request import Request, Verb
from llmgate.types.response import Chunk, Embeddings, Response, ToolCall, Value, fold

dialect = Ollama()
PLAIN = Quirks()
CHAT = Request("chat", "qwen3")
PIXEL = "iVBORw0KGgo="

Json = dict[str, Any]

HELLO = [{"role": "user", "content": "Hello"}]


def written(verb: Verb = "chat", /, **body: Any) -> Json:
    if verb == "chat":
        body.setdefault("messages", HELLO)
    out: Json = json.loads(dialect.write_request(Request(verb, "m", body), PLAIN).body)
    assert ("m", False) == (out.pop("model"), out.pop("stream"))
    return out


def sent(*messages: Json) -> list[Json]:
    out: list[Json] = written(messages=[*messages])["messages"]
    return out


def function(name: str) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def line(text: str = "", done: bool = False, **more: Any) -> bytes:
    message = {"role": "assistant", "content": text} | more.pop("message", {})
    out = {"model": "m", "created_at": "2026-11-20T10:00:00Z", "message": message, "done": done}
    return json.dumps(out | more).encode() + b"\n"


def calling(name: str, **more: Any) -> bytes:
    return line(message={"tool_calls": [{"function": {"name": name, "arguments": {"at": "Rome"}} | more}]})


def read(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(CHAT, PLAIN)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + reader.end()


def folded(*pieces: bytes) -> Response:
    answer = fold(read(*pieces))
    assert isinstance(answer, Response)
    return answer


def answer_of(body: bytes | Json, verb: Verb = "chat") -> Response:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = dialect.read_response(Request(verb, "m"), body, PLAIN)
    assert isinstance(answer, Response)
    return answer


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_tokens": 5}, {"options": {"num_predict": 5}}),
        ({"max_completion_tokens": 5, "temperature": 0}, {"options": {"num_predict": 5, "temperature": 0}}),
        ({"top_p": 0.5, "top_k": 3, "seed": 7}, {"options": {"top_p": 0.5, "top_k": 3, "seed": 7}}),
        ({"stop": "END"}, {"options": {"stop": ["END"]}}),
        ({"stop": ["a", "b"]}, {"options": {"stop": ["a", "b"]}}),
        ({"seed": 1, "options": {"seed": 2, "num_ctx": 9}}, {"options": {"seed": 2, "num_ctx": 9}}),
        ({"num_ctx": 9, "min_p": 0.1}, {"options": {"num_ctx": 9, "min_p": 0.1}}),
        ({"keep_alive": "5m", "logprobs": True, "top_logprobs": 2},) * 2,
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            {"format": {"type": "object"}},
        ),
        ({"response_format": {"type": "json_object"}, "format": ""}, {"format": ""}),
        ({"reasoning_effort": "high", "think": True}, {"think": True}),
        ({"tools": [function("f")], "tool_choice": "auto"}, {"tools": [function("f")]}),
        ({"tools": [function("f")], "tool_choice": "none"}, {}),
    ],
)
def test_parameters_are_said_in_its_words(given: Json, expected: Json) -> None:
    """
    What Ollama can express goes out under its names, options among the options, its own as they are.
    """
    assert {"messages": HELLO} | expected == written(**given)


@pytest.mark.parametrize("effort", sorted(EFFORTS))
def test_an_effort_is_a_level_or_none(effort: str) -> None:
    """
    Each effort is a level that Ollama knows, and none is no.
    """
    assert {"none": False, "minimal": "low", "xhigh": "high"}.get(effort, effort) == written(reasoning_effort=effort)[
        "think"
    ]


@pytest.mark.parametrize("name", sorted(HINTS))
def test_hints_are_left_out(name: str) -> None:
    """
    What changes no answer is left out.
    """
    assert {"messages": HELLO} == written("chat", **{name: {"a": 1}})


@pytest.mark.parametrize("name", [*sorted(NEUTRAL), "documents", "best_of", "echo"])
def test_what_cannot_be_said_is_refused_by_name(name: str) -> None:
    """
    A parameter without a word at Ollama is refused, unless its value asks for nothing.
    """
    for value in (None, *NEUTRAL.get(name, ())):
        assert {"messages": HELLO} == written(**{name: value})
    with pytest.raises(BadRequest, match=f"^{name}: "):
        written("chat", **{name: {"x": 1}})


@pytest.mark.parametrize(
    ("named", "body"),
    [
        ("tools", {"tools": [{"type": "custom", "custom": {}}]}),
        ("tools", {"tools": 1}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ("reasoning_effort", {"reasoning_effort": "huge"}),
        ("response_format", {"response_format": {"type": "grammar"}}),
        ("response_format", {"response_format": "json"}),
        ("options", {"options": 1}),
        (r"messages\[0\]", {"messages": [{"role": "critic"}]}),
        (r"messages\[0\]", {"messages": ["hello"]}),
        (r"messages\[0\].*'input_audio'", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
        (
            r"messages\[0\].*fetches none",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
        ),
        (r"messages\[0\]: 'tool_call_id' is missing", {"messages": [{"role": "tool", "content": "x"}]}),
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
    Texts become one, images stand beside them in base64, reasoning is thinking, and a result names its tool.
    """
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":"Rome"}'}}

    assert [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look\nhere", "images": [PIXEL]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"id": "t1", "function": {"name": "look", "arguments": {"at": "Rome"}}}],
        },
        {"role": "tool", "content": "sun", "tool_name": "look", "tool_call_id": "t1"},
        {"role": "assistant", "content": "No."},
    ] == sent(
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [{"type": "text", "text": "Look"}, image, {"type": "text", "text": "here"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "sun"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
    )


def test_a_conversation_is_read_and_written_back() -> None:
    """
    Images get their type, calls without ids get some, their results find them; written again it is what it was.
    """
    calls = [{"function": {"name": name, "arguments": {"at": at}}} for name, at in (("a", 1), ("b", 2), ("a", 3))]
    messages = [
        {"role": "user", "content": "Look", "images": [PIXEL, "/9j/4AAQ"]},
        {"role": "user", "content": "", "images": ["R0lGODlh"]},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": calls},
        {"role": "tool", "content": "1", "tool_name": "a"},
        {"role": "tool", "content": "3", "tool_name": "a"},
        {"role": "tool", "content": "2", "tool_name": "b"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "t9", **calls[0]}]},
        {"role": "tool", "content": "9", "tool_name": "a", "tool_call_id": "t9"},
    ]
    request = dialect.read_request("chat", {"model": "m", "messages": messages}).but()
    body = json.loads(dialect.write_request(request, PLAIN).body)

    assert {"model": "m", "stream": True, "messages": messages} == body
    read = request.body["messages"]
    ids = [call["id"] for call in read[2]["tool_calls"]]
    assert [ids[0], ids[2], ids[1], "t9"] == [message["tool_call_id"] for message in read if message["role"] == "tool"]
    assert 3 == len({id for id in ids if MADE_ID.fullmatch(id)})
    assert [{"type": "text", "text": "Look"}, "png", "jpeg"] == [
        part if part["type"] == "text" else part["image_url"]["url"][11:].partition(";")[0]
        for part in read[0]["content"]
    ]
    assert "hm" == read[2]["reasoning_content"]


def test_a_request_is_read_in_openais_words() -> None:
    """
    What other upstreams can do is read in the words that they know; the rest stays among the options.
    """
    options = {"num_predict": 5, "temperature": 0, "stop": ["x"], "num_ctx": 9}
    data = {"model": "m", "messages": HELLO, "options": options, "think": False, "format": {"type": "object"}}
    request = dialect.read_request("chat", data).but()

    assert ("m", True) == (request.model, request.stream)
    assert {
        "messages": HELLO,
        "max_tokens": 5,
        "temperature": 0,
        "stop": ["x"],
        "options": {"num_ctx": 9},
        "reasoning_effort": "none",
        "response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object"}}},
    } == request.body
    assert data | {"stream": True} == json.loads(dialect.write_request(request, PLAIN).body)


@pytest.mark.parametrize(
    "more", [{"options": {}}, {"options": {"num_predict": -1}}, {"think": "low"}, {"think": True}, {"format": "json"}]
)
def test_what_is_asked_is_asked_again(more: Json) -> None:
    """
    A request that was read is written again as it was, and no limit is not taken for one.
    """
    data = {"model": "m", "messages": HELLO, "stream": False} | more
    request = dialect.read_request("chat", data).but()

    assert data == json.loads(dialect.write_request(request, PLAIN).body)
    assert "max_tokens" not in request.body


def test_a_prompt_is_asked_for() -> None:
    """
    A prompt goes to /api/generate; several prompts and tokens are refused.
    """
    assert {"prompt": "2+2=", "suffix": "!", "logprobs": True, "top_logprobs": 2} == written(
        "complete", prompt=["2+2="], suffix="!", logprobs=2, echo=False, best_of=1
    )
    for prompt in (["a", "b"], [1, 2], None):
        with pytest.raises(BadRequest, match=r"^prompt"):
            written("complete", prompt=prompt)
    asked = dialect.read_request("complete", {"model": "m", "prompt": "x", "stream": False, "raw": True}).but()
    assert (False, {"prompt": "x", "raw": True}) == (asked.stream, asked.body)


def test_embeddings_are_asked_for_both_ways() -> None:
    """
    Texts go to /api/embed, one alone also to the older /api/embeddings; both are read.
    """
    old = Quirks(paths={"embed": "/api/embeddings"})
    many = Request("embed", "e", {"input": ["a", "b"], "dimensions": 4, "encoding_format": "float", "user": "u"})
    one = dialect.read_request("embed", {"model": "e", "prompt": "a"}).but()

    assert {"model": "e", "input": ["a", "b"], "dimensions": 4} == json.loads(dialect.write_request(many, PLAIN).body)
    assert {"model": "e", "input": "a"} == json.loads(dialect.write_request(one, PLAIN).body)
    assert {"model": "e", "prompt": "a"} == json.loads(dialect.write_request(one, old).body)
    answer = dialect.read_response(one, b'{"embedding":[0.5,1]}', old)
    assert isinstance(answer, Embeddings)
    assert ([[0.5, 1]], "e", None) == (answer.vectors, answer.model, answer.usage.input_tokens)
    for request, quirks in ((many, old), (Request("embed", "e", {"input": [1, 2]}), PLAIN)):
        with pytest.raises(BadRequest, match=r"^input"):
            dialect.write_request(request, quirks)


@pytest.mark.parametrize("verb", ["chat", "complete", "embed"])
@pytest.mark.parametrize("data", [None, [], 1, {}, {"messages": 1}, {"messages": [1]}])
def test_a_body_that_is_none_is_refused(verb: Verb, data: Any) -> None:
    """
    A server of this format answers a body that is none with a bad request.
    """
    with pytest.raises(BadRequest):
        dialect.read_request(verb, data).but()


def test_every_option_finds_its_place() -> None:
    """
    An option of Ollama's beside the other parameters is put among the options.
    """
    assert {"messages": HELLO, "options": dict.fromkeys(OPTIONS, 1)} == written("chat", **dict.fromkeys(OPTIONS, 1))


# --- answers and streams ----------------------------------------------------------------------------------------------


def test_two_calls_without_ids_are_two_calls() -> None:
    """
    Parallel calls are told apart by their order, whatever index the wire gives them, and get the same ids at each reading.
    """
    stream = [calling("look"), calling("look", index=1), calling("find", index=1), line(done=True, done_reason="stop")]
    answer = folded(*stream)
    raw = [json.loads(piece)["message"]["tool_calls"][0] for piece in stream[:3]]
    whole = answer_of(line(done=True, done_reason="stop", message={"tool_calls": raw}))

    assert ["look", "look", "find"] == [call.name for call in answer.tool_calls]
    assert answer.tool_calls == folded(*stream).tool_calls == whole.tool_calls
    assert 3 == len({call.id for call in answer.tool_calls})
    assert [{"at": "Rome"}] * 3 == [call.parsed() for call in answer.tool_calls]
    assert ("tool_calls", "stop") == (answer.finish_reason, answer.choices[0].native_finish_reason)


@pytest.mark.parametrize(
    ("reason", "finish", "native"),
    [("length", "length", None), ("load", "stop", "load"), (None, "stop", None), ("brand_new", "brand_new", None)],
)
def test_an_end_is_read_and_written_back(reason: str | None, finish: str, native: str | None) -> None:
    """
    Why an answer ended is read whole or streamed, also where an older server does not say, and written back.
    """
    for answer in (answer_of(line(done=True, done_reason=reason)), folded(line(done=True, done_reason=reason))):
        writer = dialect.writer(CHAT)

        assert (finish, native) == (answer.finish_reason, answer.choices[0].native_finish_reason)
        assert answer == folded(writer.feed(Chunk(whole=answer)) + writer.end())
        assert (reason or "stop") == dialect.write_response(answer)["done_reason"]


def test_logprobs_are_openais() -> None:
    """
    Probabilities are read into OpenAI's shape and written back, whole and streamed.
    """
    entries = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]
    whole = answer_of(line("Hi", done=True, done_reason="stop", logprobs=entries))
    stream = folded(line("Hi", logprobs=entries), line(done=True, done_reason="stop"))
    writer = dialect.writer(CHAT)

    assert {"content": entries} == whole.choices[0].logprobs == stream.choices[0].logprobs
    assert whole == stream == folded(writer.feed(Chunk(whole=whole)) + writer.end())
    assert whole == answer_of(dialect.write_response(whole))


def test_a_call_in_pieces_is_written_whole() -> None:
    """
    Ollama's clients know no piece of a call, so calls are written at the end, with their arguments as objects.
    """
    writer = dialect.writer(CHAT)
    pieces = [
        Chunk("Well", model="other"),
        Chunk(tool_calls=[ToolCall("a", "look", "", 0)]),
        Chunk(tool_calls=[ToolCall("b", "find", "{}", 1)]),
        Chunk(tool_calls=[ToolCall("", "", '{"at":', 0)]),
        Chunk(tool_calls=[ToolCall("", "", '"Rome"}', 0)]),
        Chunk(finish_reason="tool_calls", native_finish_reason="TOOL_CALL"),
    ]
    out = b"".join(writer.feed(piece) for piece in pieces) + writer.end()
    lines = [json.loads(one) for one in out.splitlines()]

    assert [False, False, True] == [one["done"] for one in lines]
    assert {"other"} == {one["model"] for one in lines}
    assert [("a", "look", {"at": "Rome"}), ("b", "find", {})] == [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in lines[1]["message"]["tool_calls"]
    ]
    assert "stop" == lines[2]["done_reason"]


def test_an_error_waits_for_what_came_before_it() -> None:
    """
    Text that came before an error is given out; the error comes when more is asked for.
    """
    reader = dialect.reader(CHAT, PLAIN)
    failed = b'{"error":"the input length exceeds the context length"}\n'

    assert ["Hel"] == [chunk.text for chunk in reader.feed(line("Hel") + failed)]
    with pytest.raises(ContextWindowExceeded):
        reader.feed(b"")
    with pytest.raises(ContextWindowExceeded):
        reader.end()


@pytest.mark.parametrize("body", [b"", b"\n \n", line("x"), line("x") + line(done=True)[:-3], line("x")[:-1]])
def test_a_stream_without_its_end_is_interrupted(body: bytes) -> None:
    """
    Only a line that says `done` proves that an answer is whole.
    """
    with pytest.raises(StreamInterrupted):
        read(body)


def test_counts_that_did_not_come_are_unknown() -> None:
    """
    Without counts there is no usage, and one that is no number is none.
    """
    [chunk] = read(line(done=True))
    [odd] = read(line(done=True, eval_count=2, prompt_eval_count="many"))

    assert chunk.usage is None
    assert odd.usage is not None
    assert (None, 2) == (odd.usage.input_tokens, odd.usage.output_tokens)


def test_two_answers_cannot_be_asked_for() -> None:
    """
    One answer is what Ollama gives.
    """
    with pytest.raises(BadRequest, match=r"^n: Ollama"):
        written("chat", n=2)


def test_the_last_line_needs_no_end() -> None:
    """
    The last line counts without its line end; what follows it is ignored.
    """
    assert "x" == folded(line("x"), line(done=True)[:-1]).text
    reader = dialect.reader(CHAT, PLAIN)
    assert 1 == len(reader.feed(line("x", done=True) + line("y")))
    assert reader.terminated
    assert [] == reader.feed(line("z")) == reader.end()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\n",
        b"[1]\n",
        b"1\n",
        b"null\n",
        b"{}\n",
        b'{"message":1,"done":true}\n',
        b'{"message":{}}\n',
        line(message={"content": 1}),
    ],
)
def test_what_is_no_stream_is_a_protocol_error(body: bytes) -> None:
    """
    Whatever came in place of a stream is an error of the protocol.
    """
    with pytest.raises(ProtocolError):
        read(body)


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"1", b"{}", b'{"message":{}}', line("x")])
def test_what_is_no_answer_is_a_protocol_error(body: bytes) -> None:
    """
    Whatever came in place of an answer, the first line of a stream as well, is an error of the protocol.
    """
    for verb in ("chat", "complete", "embed", "models"):
        with pytest.raises(ProtocolError):
            dialect.read_response(Request(verb, "m"), body, PLAIN)


def test_an_error_in_place_of_an_answer_is_what_it_means() -> None:
    """
    An error is an error whatever its status was.
    """
    for verb in ("chat", "complete", "embed", "models"):
        with pytest.raises(ModelNotFound):
            dialect.read_response(Request(verb, "m"), b'{"error":"model \'x\' not found"}', PLAIN)


@pytest.mark.parametrize("url", ["https://x/a,b", "https://x/;base64,b", "data:image/svg+xml,<svg/>", "data:image/png"])
def test_an_image_is_sent_and_not_named(url: str) -> None:
    """
    Only an image in base64 is an image to Ollama.
    """
    with pytest.raises(BadRequest, match="fetches none"):
        sent({"role": "user", "content": [{"type": "image_url", "image_url": url}]})


def test_what_it_has_no_words_for_is_refused() -> None:
    """
    No answer is written that Ollama's clients could not read.
    """
    with pytest.raises(BadRequest):
        dialect.write_response(Value(value=1))
    with pytest.raises(BadRequest):
        dialect.writer(CHAT).feed(Chunk(whole=Value(value=1)))


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "meant"),
    [
        (404, "model 'x' not found", ModelNotFound),
        (400, "registry.ollama.ai/library/x does not support tools", BadRequest),
        (400, "the input length exceeds the context length", ContextWindowExceeded),
        (401, "unauthorized", AuthenticationFailed),
        (429, "you have reached your hourly usage limit", RateLimited),
        (503, "server busy, please try again; maximum pending requests exceeded", Overloaded),
        (500, "model requires more system memory (5 GiB) than is available (2 GiB)", UpstreamError),
    ],
)
def test_errors_are_what_they_mean(status: int, message: str, meant: type[GatewayError]) -> None:
    """
    An error is classified by its sentence first and its status last, and keeps both.
    """
    error = dialect.read_error(status, {}, json.dumps({"error": message}).encode())

    assert (meant, status) == (type(error), error.status)
    assert message == error.message


@pytest.mark.parametrize("error", [RateLimited("slow", retry_after=2), AllAttemptsFailed("all", [Overloaded("busy")])])
def test_our_errors_are_said_in_its_words(error: GatewayError) -> None:
    """
    An error goes out as a sentence, with the status of its class, and in a stream as a line that is raised again.
    """
    status, _, body = dialect.write_error(error)
    writer = dialect.writer(CHAT)

    assert {RateLimited: 429, AllAttemptsFailed: 503}[type(error)] == status
    assert {"error": error.message} == body
    with pytest.raises(UpstreamError):
        read(writer.feed(Chunk("x")) + writer.error(UpstreamError("it broke")))
