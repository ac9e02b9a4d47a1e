"""What comes back: short ways to it, OpenAI's shape of it, and what is left of it after a journey."""

from __future__ import annotations

import copy
import json
import pickle
import time
from decimal import Decimal
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage

from llmgate.types.call import Attempt
from llmgate.types.response import (
    Answer,
    Choice,
    Chunk,
    Embeddings,
    Folder,
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

CALL = ToolCall("call_1", "weather", '{"city": "Oslo"}')
LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}], "refusal": None}
NOW = 1_700_000_000

RESPONSES = {
    "text": Response(choices=[Choice(text="Hi", finish_reason="stop")], usage=Usage(3, 4)),
    "tool calls": Response(choices=[Choice(tool_calls=[CALL, ToolCall("b", "f", "", 1)], finish_reason="tool_calls")]),
    "tools that go back": Response(
        choices=[Choice(tool_calls=[ToolCall("a", "f", extra={"extra_content": {"g": 1}})])]
    ),
    "a custom tool": Response(choices=[Choice(tool_calls=[ToolCall("a", "f", "free", extra={"type": "custom"})])]),
    "text and tools": Response(choices=[Choice(text="Let me see.", tool_calls=[CALL])]),
    "refusal": Response(choices=[Choice(refusal="I must not.", finish_reason="stop")]),
    "reasoning": Response(choices=[Choice(text="42", reasoning="Well …", extra={"reasoning_details": [{"a": 1}]})]),
    "every count": Response(usage=Usage(9, 8, 7, 6, 5, 4, 3, Decimal("0.1"))),
    "half a usage": Response(usage=Usage(output_tokens=2)),
    "no usage": Response(choices=[Choice(text="Hi")]),
    "a broken end": Response(choices=[Choice(text="Hi", finish_reason="error", native_finish_reason="boom")]),
    "a word of its own": Response(choices=[Choice(text="Hi", finish_reason="eos")]),
    "cut off": Response(choices=[Choice(text="Hi", finish_reason="length")]),
    "filtered": Response(choices=[Choice(finish_reason="content_filter")]),
    "several": Response(choices=[Choice(text="a", finish_reason="stop"), Choice(1, "b", finish_reason="stop")]),
    "logprobs": Response(choices=[Choice(text="Hi", logprobs=LOGPROBS, finish_reason="stop")]),
    "nothing": Response(choices=[]),
}
EVERY = pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)


class TestShortcuts:
    """`Response.text` and the others."""

    def test_they_speak_of_the_first_choice(self) -> None:
        """
        Every shortcut is the field of the first choice.
        """
        first = Choice(0, "text", "reasoning", [CALL], "refusal", ["https://a"], "stop")
        response = Response(choices=[first, Choice(1, "other")])

        assert ("text", "reasoning", [CALL], "refusal", ["https://a"], "stop") == (
            response.text, response.reasoning, response.tool_calls, response.refusal, response.citations,
            response.finish_reason,
        )  # fmt: skip
        assert first.message == response.message

    def test_without_a_choice_they_say_so(self) -> None:
        """
        A response without choices has empty texts and lists, no reason, and a message without content.
        """
        nothing = Response(choices=[])

        assert ("", "", [], None, [], None) == (
            nothing.text, nothing.reasoning, nothing.tool_calls, nothing.refusal, nothing.citations,
            nothing.finish_reason,
        )  # fmt: skip
        assert {"role": "assistant", "content": None} == nothing.message

    def test_a_new_response_has_one_empty_choice_of_its_own(self) -> None:
        """
        `Response()` is an empty answer, and no two share a choice.
        """
        one, two = Response(), Response()
        one.choices[0].text = "changed"

        assert "" == two.text


class TestMessage:
    """`message`, to be appended to the conversation."""

    @EVERY
    def test_it_is_a_message_to_openai(self, response: Response) -> None:
        """
        Every message, tool calls and refusals included, is one to OpenAI's own types and to JSON.
        """
        message = json.loads(json.dumps(response.message))

        assert "assistant" == ChatCompletionMessage.model_validate(message).role

    def test_its_content_is_none_where_something_else_was_said(self) -> None:
        """
        A message of tool calls or of a refusal has no content; one of text has it, empty or not.
        """
        found = [Choice(tool_calls=[CALL]), Choice(refusal="no"), Choice(), Choice(text="Hi", tool_calls=[CALL])]

        assert [None, None, "", "Hi"] == [choice.message["content"] for choice in found]

    def test_it_keeps_what_the_upstream_wants_back(self) -> None:
        """
        Reasoning and extra keys go back with the next turn; what was not said is not there.
        """
        message = Choice(text="42", reasoning="Well …", extra={"thinking_blocks": [1]}).message

        assert {"role": "assistant", "content": "42", "reasoning_content": "Well …", "thinking_blocks": [1]} == message


class TestToolCall:
    """`ToolCall`, written and read."""

    def test_it_goes_back_as_it_came(self) -> None:
        """
        A call is written as OpenAI writes it, a custom tool's included, with the keys its upstream wants back.
        """
        assert {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": 1} == (
            ToolCall("a", "f", "{}", extra={"extra_content": 1}).to_openai()
        )
        assert {"id": "a", "type": "custom", "custom": {"name": "f", "input": "free"}} == (
            ToolCall("a", "f", "free", extra={"type": "custom"}).to_openai()
        )

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [('{"city": "Oslo"}', {"city": "Oslo"}), ("", {}), (" \n", {}), ("[1]", [1]), ('"\\ud800"', "\ufffd")],
    )
    def test_arguments_are_read(self, arguments: str, expected: Any) -> None:
        """
        Arguments are JSON; none at all are an empty dict, because models leave them out for tools without any.
        """
        assert expected == ToolCall(arguments=arguments).parsed()

    @pytest.mark.parametrize("arguments", ['{"city": ', "Oslo", '{"n": NaN}', '{"n": 1e999}', '"\ud800', "[" * 5000])
    def test_what_is_no_json_is_a_value_error(self, arguments: str) -> None:
        """
        Whatever a model writes in place of JSON is a `ValueError` and nothing else.
        """
        with pytest.raises(ValueError):
            ToolCall(arguments=arguments).parsed()


class TestOpenAI:
    """`to_openai`, held against the types of OpenAI's own package."""

    @EVERY
    def test_a_response_is_a_completion(self, response: Response) -> None:
        """
        Every response is a `ChatCompletion`, strictly, and says there what it says here.
        """
        completion = ChatCompletion.model_validate(json.loads(json.dumps(response.to_openai())), strict=True)

        assert len(response.choices) == len(completion.choices)
        assert response.usage.total_tokens == (completion.usage and completion.usage.total_tokens)
        for choice, found in zip(response.choices, completion.choices, strict=True):
            assert (choice.index, choice.text or None) == (found.index, found.message.content or None)
            assert [call.id for call in choice.tool_calls] == [call.id for call in found.message.tool_calls or []]
            assert choice.refusal == found.message.refusal

    @EVERY
    def test_pieces_are_chunks(self, response: Response) -> None:
        """
        Every piece of a response is a `ChatCompletionChunk`, strictly, but for custom tools, which OpenAI's types lack.
        """
        for piece in explode(response):
            wire = json.loads(json.dumps(piece.to_openai()))
            if any(call.extra == {"type": "custom"} for call in piece.tool_calls):
                assert {"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "free"}} == (
                    wire["choices"][0]["delta"]["tool_calls"][0]
                )
                continue
            chunk = ChatCompletionChunk.model_validate(wire, strict=True)
            assert [piece.index] == [choice.index for choice in chunk.choices] or piece.index < 0

    @pytest.mark.parametrize(
        ("reason", "whole", "piece"),
        [
            *(
                (reason, reason, reason)
                for reason in ("stop", "length", "tool_calls", "content_filter", "function_call")
            ),
            ("error", "stop", "stop"),
            ("eos", "stop", "stop"),
            (None, "stop", None),
        ],
    )
    def test_the_reason_is_one_that_openai_knows(self, reason: str | None, whole: str, piece: str | None) -> None:
        """
        Reasons that OpenAI has not are written as `stop`; a piece without a reason is not the end.
        """
        assert whole == Response(choices=[Choice(finish_reason=reason)]).to_openai()["choices"][0]["finish_reason"]
        assert piece == Chunk(text="Hi", finish_reason=reason).to_openai()["choices"][0]["finish_reason"]

    def test_a_usage_alone_has_no_choices(self) -> None:
        """
        A usage travels in a chunk without choices, as OpenAI sends it, or beside what else the piece says.
        """
        alone = Chunk(usage=Usage(3, 4), created=NOW).to_openai()
        beside = Chunk(text="Hi", usage=Usage(3, 4)).to_openai()

        assert ([], 7) == (alone["choices"], alone["usage"]["total_tokens"])
        assert ("Hi", 7) == (beside["choices"][0]["delta"]["content"], beside["usage"]["total_tokens"])
        assert [] == Chunk(index=-1, id="ping").to_openai()["choices"]

    def test_counts_that_nobody_sent_are_left_out(self) -> None:
        """
        A detail nobody counted is not written as zero, and a usage without totals not at all.
        """
        assert {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3} == (
            Response(usage=Usage(input_tokens=3)).to_openai()["usage"]
        )
        assert {"cached_tokens": 0} == (
            Response(usage=Usage(3, 4, cache_read_tokens=0)).to_openai()["usage"]["prompt_tokens_details"]
        )
        assert Response(usage=Usage(cache_read_tokens=1)).to_openai()["usage"] is None

    def test_a_piece_keeps_everything_it_brings(self) -> None:
        """
        Logprobs, reasoning, refusal and extra keys stand in the chunk as they would in OpenAI's.
        """
        piece = Chunk("Hi", "Well …", refusal="no", logprobs=LOGPROBS, extra={"thinking_blocks": [1]}).to_openai()
        choice = piece["choices"][0]

        assert LOGPROBS == choice["logprobs"]
        assert {"content": "Hi", "reasoning_content": "Well …", "refusal": "no", "thinking_blocks": [1]} == choice[
            "delta"
        ]

    def test_a_piece_that_goes_on_with_a_tool_call_names_it_only_by_its_number(self) -> None:
        """
        Id, type and name stand in the first piece of a tool call and nowhere else.
        """
        delta = Chunk(tool_calls=[ToolCall(arguments="{}", index=2)]).to_openai()["choices"][0]["delta"]

        assert [{"index": 2, "function": {"arguments": "{}"}}] == delta["tool_calls"]

    def test_the_time_is_the_upstreams_or_now(self) -> None:
        """
        `created` is what the upstream said; where it said nothing OpenAI's types still want a time.
        """
        before = int(time.time())

        assert NOW == Response(created=NOW).to_openai()["created"] == Chunk(created=NOW).to_openai()["created"]
        assert before <= Response().to_openai()["created"] <= before + 60
        assert before <= Chunk().to_openai()["created"] <= before + 60


class TestCost:
    """`cost`, here and after a journey."""

    def test_it_is_computed_when_somebody_asks(self) -> None:
        """
        The price list is asked with the answer itself, and only by whoever wants the cost.
        """
        asked: list[Answer] = []

        def priced(answer: Answer) -> Decimal:
            asked.append(answer)
            return Decimal("0.5")

        response = Response(priced=priced)
        assert "Response()" == repr(response)
        assert [] == asked

        assert Decimal("0.5") == response.cost
        assert response is asked[0]

    def test_without_a_price_list_it_is_the_upstreams_own(self) -> None:
        """
        The figure the upstream sent is the cost where nobody can compute another; without it there is none.
        """
        assert Decimal("0.25") == Response(usage=Usage(cost=Decimal("0.25"))).cost
        assert Response().cost is None

    @pytest.mark.parametrize("cost", [Decimal("0.5"), Decimal(0), None])
    def test_it_travels_and_the_price_list_does_not(self, cost: Decimal | None) -> None:
        """
        An answer pickles with its cost, unknown ones included, though its price list cannot.
        """
        response = Response(usage=Usage(1, 2, cost=Decimal(7)), priced=lambda answer: cost)
        travelled = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(response))))

        assert cost == travelled.cost
        assert response == travelled


ANSWERS: dict[str, Answer] = {
    **RESPONSES,
    "embeddings": Embeddings(vectors=[[0.625, -1.0]], model="m", usage=Usage(2)),
    "models": Models(data=[Model("gpt", "openai", NOW, "openai", 128_000, {"id": "gpt"})]),
    "raw": RawResponse(status=201, headers={"a": "b"}, content=b"{}"),
    "value": Value(value={"a": [1]}),
}


class TestJourney:
    """Pickling and copying."""

    @pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
    @pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
    def test_answers_pickle(self, answer: Answer, protocol: int) -> None:
        """
        Every answer comes back as it was, with its circumstances and with the upstream's own JSON.
        """
        answer = copy.copy(answer)
        answer.raw, answer.attempts, answer.cached = {"x": 1}, (Attempt("openai/gpt", "ok", "ok"),), "memory"
        answer.deployment, answer.provider, answer.request_id = "openai/gpt", "openai", "req_1"

        for travelled in (pickle.loads(pickle.dumps(answer, protocol)), copy.copy(answer), copy.deepcopy(answer)):
            assert type(answer) is type(travelled)
            assert answer == travelled
            for name in ("raw", "attempts", "cached", "deployment", "provider", "request_id"):
                assert getattr(answer, name) == getattr(travelled, name)

    def test_pieces_pickle(self) -> None:
        """
        A stream's chunks come back as they were.
        """
        pieces = [piece for response in RESPONSES.values() for piece in explode(response)]

        assert pieces == pickle.loads(pickle.dumps(pieces))

    def test_a_deep_copy_shares_nothing(self) -> None:
        """
        Changing a copy's tool calls does not change the answer.
        """
        response = Response(choices=[Choice(tool_calls=[ToolCall("a", "f", "{}")])])
        copy.deepcopy(response).tool_calls[0].arguments = "spoilt"

        assert "{}" == response.tool_calls[0].arguments


class TestEquality:
    """What makes two answers the same answer."""

    def test_circumstances_do_not_count(self) -> None:
        """
        Who answered, from where and at which price makes no other answer; neither does the wire it came over.
        """
        one = Response(choices=[Choice(text="Hi")], id="a")
        two = Response(
            choices=[Choice(text="Hi")], id="a", raw={"x": 1}, provider="p", deployment="d", cached="memory",
            request_id="r", created=NOW, attempts=[Attempt("a", "ok", "ok")], priced=lambda answer: None,
        )  # fmt: skip

        assert one == two
        assert one != Response(choices=[Choice(text="Hi")], id="b")
        assert one != Response(choices=[Choice(text="Ho")], id="a")
        assert one != Response(choices=[Choice(text="Hi")], id="a", usage=Usage(1))


class TestRepr:
    """What a debugger and a log show."""

    def test_it_tells_what_was_said_and_nothing_else(self) -> None:
        """
        Fields that say nothing are not shown.
        """
        response = Response(
            id="a", usage=Usage(3, 0), deployment="openai/gpt", choices=[Choice(text="Hi", finish_reason="stop")]
        )

        assert (
            "Response(id='a', usage=Usage(input_tokens=3, output_tokens=0), deployment='openai/gpt', "
            "choices=[Choice(text='Hi', finish_reason='stop')])"
        ) == repr(response)
        assert "Chunk(text='Hi')" == repr(Chunk("Hi"))
        assert "Models(data=[Model(id='gpt')])" == repr(Models(data=[Model("gpt")]))

    @pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
    def test_the_upstreams_json_is_not_shown(self, answer: Answer) -> None:
        """
        The raw answer, its headers, its bytes and its vectors are not in the repr.
        """
        answer = copy.copy(answer)
        answer.raw = {"raw": "secret"}
        shown = repr(answer)

        assert "raw" not in shown
        assert "0.625" not in shown
        assert "{}" not in shown
        assert shown.startswith(type(answer).__name__)

    def test_it_is_short(self) -> None:
        """
        However long an answer is, its repr is not.
        """
        call = ToolCall("x" * 9999, "y" * 9999, "z" * 9999, extra={str(n): "w" * 9999 for n in range(99)})
        choice = Choice(text="t" * 99_999, reasoning="r" * 99_999, tool_calls=[call] * 99, extra={"e": ["f"] * 9999})
        response = Response(choices=[choice] * 99, id="i" * 9999)

        assert len(repr(response)) < 3000
        assert len(repr(fold(explode(response)))) < 3000
        assert max(len(repr(piece)) for piece in explode(response)) < 1000
        assert len(repr(Value(value=["v" * 9999] * 99))) < 1000


def folded(*pieces: Chunk) -> Choice:
    response = fold(pieces)
    assert isinstance(response, Response)
    return response.choices[0]


class TestFold:
    """How pieces of a choice come together."""

    @pytest.mark.parametrize(
        "said",
        [
            {"text": "Hi"},
            {"reasoning": "Well"},
            {"refusal": "no"},
            {"refusal": ""},
            {"citations": ["https://a"]},
            {"finish_reason": "stop"},
            {"native_finish_reason": "eos"},
            {"logprobs": {"content": []}},
            {"extra": {"a": None}},
            {"tool_calls": [CALL]},
        ],
        ids=str,
    )
    def test_a_piece_may_say_one_thing_alone(self, said: dict[str, Any]) -> None:
        """
        Whatever a piece says counts, though it say nothing else.
        """
        assert Choice(**said) == folded(Chunk(**said)) == folded(Chunk(), Chunk(**said), Chunk())

    def test_a_tool_call_has_one_name_and_one_id(self) -> None:
        """
        Arguments are joined; id and name are the first that came, because some upstreams repeat them with every piece.
        """
        choice = folded(
            Chunk(tool_calls=[ToolCall("", "", '{"a"')]),
            Chunk(tool_calls=[ToolCall("a", "f", ": ")]),
            Chunk(tool_calls=[ToolCall("b", "f", "1}"), ToolCall("c", "g", index=1)]),
        )

        assert [ToolCall("a", "f", '{"a": 1}'), ToolCall("c", "g", index=1)] == choice.tool_calls

    def test_lists_and_dicts_grow(self) -> None:
        """
        Logprobs and extra keys of several pieces come together; what is neither list nor dict is the last that was said.
        """
        choice = folded(
            Chunk(logprobs={"content": [1]}, extra={"a": {"b": [1], "c": 1}}),
            Chunk(logprobs={"content": [2], "refusal": None}, extra={"a": {"b": [2], "c": None, "d": 3}}),
        )

        assert {"content": [1, 2], "refusal": None} == choice.logprobs
        assert {"a": {"b": [1, 2], "c": 1, "d": 3}} == choice.extra
        assert {"x": 1, "y": [2]} == (
            folded(
                Chunk(tool_calls=[ToolCall(extra={"x": 0, "y": [2]})]),
                Chunk(tool_calls=[ToolCall(extra={"x": 1})]),
                Chunk(tool_calls=[ToolCall()]),
            )
            .tool_calls[0]
            .extra
        )

    def test_a_source_is_named_once(self) -> None:
        """
        Some upstreams send all citations with every chunk; each stands in the answer once, in the order they came.
        """
        choice = folded(Chunk(citations=["a"]), Chunk(citations=["a", "b"]), Chunk(citations=["a", "b", "c"]))

        assert ["a", "b", "c"] == choice.citations

    def test_the_last_reason_counts(self) -> None:
        """
        A reason that comes later replaces an earlier one, and pieces behind it do not take it away.
        """
        choice = folded(
            Chunk(finish_reason="stop"), Chunk(finish_reason="tool_calls", native_finish_reason="x"), Chunk("!")
        )

        assert ("tool_calls", "x") == (choice.finish_reason, choice.native_finish_reason)

    def test_the_id_is_the_first_and_the_model_the_last(self) -> None:
        """
        A router may name the model that really answers only later; the answer's id and time stay.
        """
        response = fold(
            [
                Chunk(created=None),
                Chunk(id="a", model="auto", created=1),
                Chunk(id="b", model="gpt", created=2),
                Chunk(),
            ]
        )

        assert Response(id="a", model="gpt") == response
        assert isinstance(response, Response)
        assert 1 == response.created

    def test_the_usage_is_the_most_that_was_reported(self) -> None:
        """
        Running totals and a total at the end are the same usage; a smaller report takes nothing back.
        """
        response = fold([Chunk(usage=Usage(5, 1)), Chunk(usage=Usage(None, 7)), Chunk(usage=Usage(0, 2), index=-1)])

        assert Usage(5, 7) == response.usage

    def test_items_given_are_not_items_held(self) -> None:
        """
        Who changes the list of what a generator yielded does not change the next one.
        """
        folder = Folder()
        folder.feed(Chunk(items=[1]))
        answer = folder.answer()
        assert isinstance(answer, Value)
        answer.value.append(2)

        assert Value(value=[1]) == folder.answer()


class TestModels:
    """The answer to `models`."""

    def test_it_is_its_list(self) -> None:
        """
        It iterates over what is offered, counts it, and knows a model by its id or itself.
        """
        offered = [Model("gpt", "openai"), Model("claude", "anthropic")]
        models = Models(data=offered)

        assert offered == list(models)
        assert 2 == len(models)
        assert "gpt" in models
        assert all(model in models for model in models)
        assert "gpt-2" not in models
        assert Model("gpt", "other") not in models
        assert 0 == len(Models())


class TestRawResponse:
    """The answer to `request`."""

    def test_json_is_read_when_asked_for(self) -> None:
        """
        `json` reads the body as carefully as all JSON of others is read.
        """
        assert {"a": "caf\ufffd"} == RawResponse(content=b'{"a": "caf\xe9"}').json()

    @pytest.mark.parametrize("content", [b"", b"<html>", b'{"a": 1e999}', b"[" * 10_000])
    def test_what_is_no_json_is_a_value_error(self, content: bytes) -> None:
        """
        A body that is something else is a `ValueError`.
        """
        with pytest.raises(ValueError):
            RawResponse(content=content).json()


class TestChunk:
    """One piece."""

    @pytest.mark.parametrize(
        ("piece", "expected"),
        [
            (Chunk(), False),
            (Chunk(usage=Usage(1), id="a", model="m", index=-1), False),
            (Chunk(raw={"x": 1}, logprobs={}), False),
            (Chunk("Hi"), True),
            (Chunk(reasoning="Well"), True),
            (Chunk(tool_calls=[CALL]), True),
            (Chunk(finish_reason="stop"), True),
            (Chunk(refusal="no"), True),
            (Chunk(items=[]), True),
            (Chunk(whole=Response()), True),
        ],
    )
    def test_content_is_what_the_caller_wants(self, piece: Chunk, expected: bool) -> None:
        """
        Text, reasoning, tools, an end, items and whole answers are content; a role, a ping or a usage alone is not.
        """
        assert expected == piece.has_content
