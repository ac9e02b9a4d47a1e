"""Where a caller's words become a call, and a reply becomes an answer."""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import BaseModel

from llmgate.errors import BadRequest, ConnectionFailed, GatewayError, Overloaded, StreamInterrupted
from llmgate.runtime.accepting import OPTION_NAMES, accept, options, passed
from llmgate.runtime.edge import AsyncFace, AsyncStream, Door, Face, Stream, discovered
from llmgate.runtime.virtual import VirtualRuntime
from llmgate.types.call import Attempt, CacheControl, Call, Options
from llmgate.types.deployment import Deployment
from llmgate.types.reply import Reply
from llmgate.types.request import Message, Request
from llmgate.types.response import Choice, Chunk, Embeddings, Model, Models, RawResponse, Response, explode
from llmgate.types.schemas import strict_format
from llmgate.types.usage import Usage

HELLO = [{"role": "user", "content": "hello"}]
HI = Response(choices=[Choice(text="Hi there", finish_reason="stop")], usage=Usage(3, 2))


class Role(StrEnum):
    USER = "user"


class Answer(BaseModel):
    text: str
    sure: bool = True


def chat(messages: Any = "hello", **params: Any) -> Request:
    return accept("chat", {"messages": messages, **params})


class TestMessages:
    """`accept` of a chat."""

    @pytest.mark.parametrize(
        "messages",
        [
            "hello",
            HELLO,
            tuple(HELLO),
            deque(HELLO),
            [OrderedDict(HELLO[0])],
            [MappingProxyType(HELLO[0])],
            [Message("user", "hello")],
            [{"role": Role.USER, "content": "hello"}],
        ],
        ids=["text", "list", "tuple", "deque", "ordered", "mapping", "Message", "enum"],
    )
    def test_are_messages_however_they_are_given(self, messages: Any) -> None:
        """
        A text is a user's message; sequences, mappings and Message objects are the messages they hold.
        """
        request = chat(messages)

        assert {"messages": HELLO} == request.body == json.loads(request.encoded)
        assert ("chat", "", False) == (request.verb, request.model, request.stream)

    def test_stay_as_they_were_given(self) -> None:
        """
        The caller's list keeps its Message objects and mappings; only the request holds dicts.
        """
        given = [Message("user", "hello"), MappingProxyType(HELLO[0]), HELLO[0]]
        before = [*given]
        chat(given)

        assert all(one is other for one, other in zip(before, given, strict=True))

    def test_a_message_object_keeps_everything(self) -> None:
        """
        Tool calls, their ids, names and extra keys of a Message are sent; what it does not say is not.
        """
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        request = chat(
            [
                Message("assistant", None, tool_calls=[call]),
                Message("tool", "sunny", tool_call_id="a", name="f", extra={"cache_control": {"type": "ephemeral"}}),
                HI.message,
            ]
        )

        assert [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {
                "role": "tool", "content": "sunny", "tool_call_id": "a", "name": "f",
                "cache_control": {"type": "ephemeral"},
            },
            {"role": "assistant", "content": "Hi there"},
        ] == request.body["messages"]  # fmt: skip

    @pytest.mark.parametrize(
        ("messages", "said"),
        [
            (None, "messages: expected a string or a list of messages, got NoneType"),
            (b"hello", "messages: expected a string or a list of messages, got bytes"),
            (HELLO[0], "messages: expected a string or a list of messages, got dict"),
            ({"a", "b"}, "messages: expected a string or a list of messages, got set"),
            (iter(HELLO), "messages: expected a string or a list of messages, got list_iterator"),
            ([], "messages: the list is empty; there is nothing to answer"),
            ((), "messages: the list is empty; there is nothing to answer"),
            (["hello"], "messages[0]: expected a dict or a Message, got str"),
            ([*HELLO, None], "messages[1]: expected a dict or a Message, got NoneType"),
            ([{}], "messages[0].role: missing"),
            ([*HELLO, {"content": "x"}], "messages[1].role: missing"),
            ([{"role": None}], "messages[0].role: missing"),
            ([Message(3)], "messages[0].role: missing"),  # type: ignore[arg-type]
            ([{"role": "user", "content": b"x"}], "messages[0].content: a bytes is not JSON"),
            (
                [{"role": "user", "content": [{"type": "text", "text": math.nan}]}],
                "messages[0].content[0].text: NaN and",
            ),
            ([{"role": "user", "content": "\ud800"}], "messages[0].content: the text holds half of a character pair"),
        ],
    )
    def test_that_are_none_are_refused_with_their_place(self, messages: Any, said: str) -> None:
        """
        Whatever is no message is refused in words that say where it stands.
        """
        with pytest.raises(BadRequest) as caught:
            chat(messages)

        assert str(caught.value).startswith(said)


class Odd:
    pass


def circle() -> dict[str, Any]:
    found: dict[str, Any] = {"a": [1]}
    found["a"].append(found)
    return found


def deep(levels: int) -> Any:
    found: Any = "x"
    for _ in range(levels):
        found = [found]
    return found


class TestParams:
    """`accept` of everything else that is sent."""

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ({"temperature": math.inf}, "temperature: NaN and Infinity are not JSON"),
            ({"metadata": {"a": {"b": [0, Odd()]}}}, "metadata.a.b[1]: a Odd is not JSON"),
            ({"stop": {"x"}}, "stop: a set is not JSON; give a str, number, bool, None, list or dict"),
            ({"price": Decimal(1)}, "price: a Decimal is not JSON"),
            ({"a": {("x", "y"): 1}}, "a: keys must be str, int, float, bool or None, not tuple"),
            ({"a": {"\ud800": 1}}, "a: the text holds half of a character pair"),
            ({"a": {"\ud800": math.nan}}, 'a["\\ud800"]: NaN'),
            ({"a": {"no name": math.nan}}, 'a["no name"]: NaN'),
            ({"a": {7: math.nan}}, "a[7]: NaN"),
            ({"a": {"x" * 9999: math.nan}}, 'a["xxx'),
            ({"seed": 10**5000}, "seed: Exceeds the limit"),
            ({"a": circle()}, "a.a[1]: it holds itself"),
            ({"a": deep(250)}, "a[0][0]"),
            ({"a": deep(100_000)}, "a[0][0]"),
            ({"stream": True}, "stream: use gateway.stream(...)"),
            ({"stream": False}, "stream: use gateway.stream(...)"),
        ],
        ids=lambda value: "" if isinstance(value, dict) else value[:30],
    )
    def test_that_json_cannot_carry_are_refused_with_their_place(self, params: dict[str, Any], said: str) -> None:
        """
        The refusal says where it stands and what it is, in a sentence that is short and can be printed anywhere.
        """
        with pytest.raises(BadRequest) as caught:
            chat(**params)

        text = str(caught.value)
        assert text.startswith(said)
        assert len(text) < 300
        assert text.encode()

    def test_deep_nesting_says_so(self) -> None:
        """
        What is nested too deeply is called that, wherever the writer or the reader of JSON gave up.
        """
        for levels in (250, 100_000):
            with pytest.raises(BadRequest, match="nested too deeply"):
                chat(a=deep(levels))
        assert chat(a=deep(150))

    def test_names_nobody_knows_are_sent(self) -> None:
        """
        A parameter that no type of ours has is the upstream's to judge.
        """
        assert {"messages": HELLO, "top_k": 3, "x": {"y": None}} == chat(top_k=3, x={"y": None}).body

    def test_the_order_of_keys_stays(self) -> None:
        """
        The body is sent in the order given, messages first.
        """
        assert b'{"messages":[{"role":"user","content":"hello"}],"z":1,"a":2}' == chat(z=1, a=2).encoded

    def test_a_request_is_not_larger_than_anybody_takes(self) -> None:
        """
        More than 32 MB are refused before anybody is asked.
        """
        with pytest.raises(BadRequest, match="32000044 bytes long; at most 32000000"):
            chat("x" * 32_000_001)

    @pytest.mark.parametrize(
        ("verb", "body", "said"),
        [
            ("embed", {"input": None}, "input: there is nothing to embed"),
            ("embed", {"input": ""}, "input: there is nothing to embed"),
            ("embed", {"input": []}, "input: there is nothing to embed"),
            ("embed", {"input": 3}, "input: expected a string or a list, got int"),
            ("embed", {"input": {"a": 1}}, "input: expected a string or a list, got dict"),
            ("embed", {"input": b"x"}, "input: expected a string or a list, got bytes"),
            ("embed", {"input": ["a", math.nan]}, "input[1]: NaN"),
            ("complete", {"prompt": None}, "prompt: expected a string or a list, got NoneType"),
            ("complete", {"prompt": 3}, "prompt: expected a string or a list, got int"),
            ("complete", {"prompt": "x", "n": Odd()}, "n: a Odd is not JSON"),
        ],
    )
    def test_of_other_verbs(self, verb: Any, body: dict[str, Any], said: str) -> None:
        """
        Inputs and prompts are texts or lists, and an embedding is of something.
        """
        with pytest.raises(BadRequest) as caught:
            accept(verb, body)

        assert str(caught.value).startswith(said)

    def test_of_other_verbs_are_taken(self) -> None:
        """
        Texts, lists of texts and lists of tokens are inputs and prompts; an empty prompt is one.
        """
        assert {"input": ["a", "b"]} == accept("embed", {"input": ("a", "b")}).body
        assert {"input": [[1, 2]]} == accept("embed", {"input": [[1, 2]]}).body
        assert {"prompt": ""} == accept("complete", {"prompt": ""}).body
        assert accept("complete", {"prompt": "x"}, stream=True).stream


class TestResponseFormat:
    """`response_format`."""

    def test_a_model_stands_for_its_schema(self) -> None:
        """
        A pydantic model is sent as the strict JSON schema it describes; whatever else is sent as it is.
        """
        assert strict_format(Answer) == chat(response_format=Answer).body["response_format"]
        assert {"type": "json_object"} == chat(response_format={"type": "json_object"}).body["response_format"]

    def test_what_has_no_schema_is_refused(self) -> None:
        """
        A model that JSON schema cannot describe, an instance and another class are refused as what they are.
        """

        class Function(BaseModel):
            call: Callable[[], int]

        for wrong, said in (
            (Function, "response_format: Function has no JSON schema: "),
            (Answer(text="x"), "response_format: a Answer is not JSON"),
            (Odd, "response_format: a type is not JSON"),
        ):
            with pytest.raises(BadRequest) as caught:
                chat(response_format=wrong)
            assert str(caught.value).startswith(said)


texts = st.text(max_size=6)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
plain = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
anything = st.recursive(
    leaves | st.binary(max_size=3) | st.builds(object) | st.just(Odd) | st.complex_numbers() | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | st.integers() | st.just("\udfff"), inner, max_size=3)
        | st.builds(Message, texts, inner)
    ),
    max_leaves=8,
)
like_messages = st.lists(
    st.fixed_dictionaries({"role": texts, "content": plain}, optional={"name": plain}) | plain, max_size=3
)


class TestLaws:
    """What holds for all input."""

    @given(
        like_messages | anything, st.dictionaries(texts.filter(lambda name: name != "messages"), anything, max_size=3)
    )
    @example([{"role": "user", "content": {1: "a", "1": "b"}}], {})
    @settings(max_examples=200)
    def test_everything_is_taken_or_refused(self, messages: Any, params: dict[str, Any]) -> None:
        """
        Any input at all is a request that is JSON through and through, or a BadRequest in words that can be printed.
        """
        try:
            request = chat(messages, **params)
        except BadRequest as error:
            assert str(error).encode()
            assert len(str(error)) < 1000
            return

        assert json.loads(request.encoded) == request.body
        assert ["messages", *params] == [*request.body]

    @given(like_messages, st.dictionaries(texts.filter(lambda name: name != "messages"), plain, max_size=3))
    @settings(max_examples=100)
    def test_what_the_caller_gave_is_left_alone(self, messages: Any, params: dict[str, Any]) -> None:
        """
        Neither the messages nor the parameters are changed by asking, and whoever changes the request changes neither.
        """
        before = repr((messages, params))
        try:
            request = chat(messages, **params)
        except BadRequest:
            request = None
        assert before == repr((messages, params))

        if request is not None:
            spoil(request.body)
        assert before == repr((messages, params))

    @given(like_messages, st.dictionaries(texts.filter(lambda name: name != "messages"), plain, max_size=3))
    @settings(max_examples=100)
    def test_what_was_accepted_stays(self, messages: Any, params: dict[str, Any]) -> None:
        """
        The conversation may go on while a request waits: what is sent, counted and kept is what was asked.
        """
        try:
            request = chat(messages, **params)
        except BadRequest:
            return
        asked = copy.deepcopy(request.body)
        spoil(messages)
        spoil(params)

        assert repr(asked) == repr(request.body)


def spoil(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            spoil(item)
        value.append("spoilt")
    elif isinstance(value, dict):
        for item in value.values():
            spoil(item)
        value["spoilt"] = True


BASE = Options(timeout_s=7.0, tenant="acme", tags={"app": "x"}, cache=CacheControl(ttl_s=1.0), fallback=False)


def asked(base: Options = BASE, **keywords: Any) -> Options:
    found = options(keywords, lambda: base)
    assert found is not None
    return found


class TestOptions:
    """`options`."""

    def test_nothing_said_is_nothing_made(self) -> None:
        """
        Keywords that are no options are left for the upstream, and the scope is not even asked.
        """

        def scope() -> Options:
            raise AssertionError("asked")

        keywords = {"temperature": 0, "user": "x"}

        assert options(keywords, scope) is None
        assert {"temperature": 0, "user": "x"} == keywords

    def test_they_are_taken_out_of_the_keywords(self) -> None:
        """
        An option is never sent to the upstream.
        """
        keywords = {
            "temperature": 0, "timeout": 3, "tenant": "a", "tags": {}, "cache": True, "fallback": True,
            "idempotency_key": "k", "unsupported": "drop",
        }  # fmt: skip
        options(keywords, Options)

        assert {"temperature": 0} == keywords

    @pytest.mark.parametrize("name", [*OPTION_NAMES])
    def test_none_leaves_it_to_the_scope(self, name: str) -> None:
        """
        None says nothing, for every option alike.
        """
        assert BASE == asked(**{name: None})

    def test_what_is_said_wins_over_the_scope(self) -> None:
        """
        Each option that is said replaces the scope's, the others stay; tags come together.
        """
        assert Options(3.0, "b", {"app": "x", "n": "1"}, CacheControl(asked=True), True, "key", "drop") == asked(
            timeout=3, tenant="b", tags={"n": 1}, cache=True, fallback=True, idempotency_key="key", unsupported="drop"
        )
        assert {"app": "y"} == asked(tags={"app": "y"}).tags
        assert {"app": "x"} == BASE.tags

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (3, 3.0), (0.5, 0.5), ("20s", 20.0), ("1m30s", 90.0), ("5", 5.0), (timedelta(minutes=1), 60.0), (0, 0.0),
            (-1, 0.0), (-0.25, 0.0), (-math.inf, 0.0), (math.inf, math.inf),
        ],
    )  # fmt: skip
    def test_a_time_out_is_a_duration(self, value: Any, seconds: float) -> None:
        """
        Seconds, a text or a timedelta; less than nothing is nothing, because that is what may be left of a time.
        """
        assert seconds == asked(timeout=value).timeout_s

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (True, CacheControl(asked=True)),
            (False, CacheControl(read=False, write=False)),
            ("no-cache", CacheControl(read=False)),
            ("no-store", CacheControl(write=False)),
            ({}, CacheControl(asked=True)),
            ({"ttl": "1h", "max_age": 60}, CacheControl(asked=True, ttl_s=3600.0, max_age_s=60.0)),
            ({"namespace": "v2", "ttl": None}, CacheControl(asked=True, namespace="v2")),
            ({"namespace": None}, CacheControl(asked=True)),
            (CacheControl(ttl_s=5.0), CacheControl(ttl_s=5.0)),
        ],
        ids=str,
    )
    def test_a_cache_is_controlled(self, value: Any, expected: CacheControl) -> None:
        """
        Yes, no, two words of HTTP's, or how long and under which name.
        """
        assert expected == asked(cache=value).cache

    @pytest.mark.parametrize(
        ("keywords", "said"),
        [
            ({"timeout": "soon"}, 'timeout: "soon" is not a duration'),
            ({"timeout": "-1s"}, 'timeout: "-1s" is negative'),
            ({"timeout": math.nan}, "timeout: nan is not a finite duration"),
            ({"timeout": 10**400}, "timeout: a number that large is not a finite duration"),
            ({"timeout": True}, "timeout: true is not a duration"),
            ({"timeout": [1]}, "timeout: a list is not a duration"),
            ({"tenant": 3}, "tenant: expected a string, got int"),
            ({"unsupported": "ignore"}, """unsupported: "ignore" is neither 'error' nor 'drop'"""),
            ({"unsupported": True}, "unsupported: true is neither"),
            ({"tenant": "\ud800"}, "tenant: the text holds half of a character pair"),
            ({"tags": ["a"]}, "tags: expected a dict of strings"),
            ({"tags": {1: "a"}}, "tags: expected a string, got int"),
            ({"tags": {"a": "\ud800"}}, "tags.a: the text holds half of a character pair"),
            ({"tags": {"\ud800": "a"}}, "tags: the text holds half of a character pair"),
            ({"cache": "maybe"}, 'cache: "maybe" is none of True, False'),
            ({"cache": 1}, "cache: 1 is none of True, False"),
            ({"cache": "x" * 9999}, 'cache: "xxx'),
            ({"cache": ["ttl"]}, "cache: a list is none of True, False"),
            ({"cache": {"tll": 1}}, 'cache: unknown key "tll"; there are ttl, max_age and namespace'),
            ({"cache": {3: 1}}, 'cache: unknown key "3"'),
            ({"cache": {"ttl": -1}}, "cache.ttl: -1 is negative"),
            ({"cache": {"ttl": "long"}}, 'cache.ttl: "long" is not a duration'),
            ({"cache": {"max_age": math.inf}}, "cache.max_age: inf is not a finite duration"),
            ({"cache": {"namespace": 3}}, "cache.namespace: expected a string, got int"),
            ({"fallback": "no"}, 'fallback: expected True or False, got "no"'),
            ({"fallback": 0}, "fallback: expected True or False, got 0"),
            ({"idempotency_key": 3}, "idempotency_key: expected a string, got int"),
            ({"idempotency_key": ""}, "idempotency_key: travels in an HTTP header"),
            ({"idempotency_key": "a\r\nx: y"}, "idempotency_key: travels in an HTTP header"),
            ({"idempotency_key": "é"}, "idempotency_key: travels in an HTTP header"),
            ({"idempotency_key": " a"}, "idempotency_key: travels in an HTTP header"),
        ],
        ids=str,
    )
    def test_what_is_none_is_refused_with_its_place(self, keywords: dict[str, Any], said: str) -> None:
        """
        A wrong option is refused by name, in a short sentence that can be printed anywhere.
        """
        with pytest.raises(BadRequest) as caught:
            asked(**keywords)

        assert str(caught.value).startswith(said)
        assert len(str(caught.value)) < 300
        assert str(caught.value).encode()

    @given(st.sampled_from(["timeout", "tenant", "tags", "cache", "fallback", "idempotency_key"]), anything)
    def test_everything_is_an_option_or_refused(self, name: str, value: Any) -> None:
        """
        Any value at all is an option or a BadRequest.
        """
        try:
            found = asked(**{name: value})
        except BadRequest as error:
            assert str(error).encode()
            return

        assert isinstance(found, Options)
        assert found.timeout_s is not None and found.timeout_s >= 0
        assert all(text.encode() or True for pair in found.tags.items() for text in pair)


class TestPassed:
    """`passed`."""

    def test_goes_through_as_it_is(self) -> None:
        """
        Method, path and body are the request; without a body there are no bytes.
        """
        body = {"a": [1]}
        request = passed("post", "/files?purpose=x&y=%20", body, {})
        body["a"].append(2)

        assert ("request", "POST", "/files?purpose=x&y=%20") == (request.verb, request.method, request.path)
        assert ({"a": [1]}, b'{"a":[1]}') == (request.body, request.encoded)
        assert (None, b"") == (passed("GET", "/", None, {}).body, passed("GET", "/", None, {}).encoded)

    @pytest.mark.parametrize("method", [None, 3, "", "GE T", "GET\r\n", "GÉT", "G3T", "x" * 9999 + "!"])
    def test_a_method_is_a_word(self, method: Any) -> None:
        """
        Letters and nothing else.
        """
        with pytest.raises(BadRequest, match=r"^method: .{1,120} is no HTTP method$"):
            passed(method, "/", None, {})

    @pytest.mark.parametrize(
        "path",
        [None, 3, "", "x", "//evil.example/x", "/a b", "/a\r\nhost: evil", "/é", "/a\t", "/a#b", "/" + "é" * 9999],
    )
    def test_a_path_stays_at_its_host(self, path: Any) -> None:
        """
        It begins with one slash and holds nothing that would end the line or lead to another host.
        """
        with pytest.raises(BadRequest, match=r"^path: .{1,120} must start with one slash"):
            passed("GET", path, None, {})

    def test_everything_else_is_refused(self) -> None:
        """
        A body that is no JSON and keywords nobody knows are refused by name.
        """
        with pytest.raises(BadRequest, match=r"^a\[0\]: NaN"):
            passed("POST", "/", {"a": [math.nan]}, {})
        with pytest.raises(BadRequest, match=r'^unknown keyword "data"; give the body as json=…$'):
            passed("POST", "/", None, {"data": b"x"})


DEPLOYMENT = Deployment("openai/gpt", "openai", "gpt", priced=lambda answer: Decimal("0.5"))


class House:
    """A door, and what was asked at it."""

    def __init__(self, *replies: Reply | Exception, scope: Options | None = None, **door: Any) -> None:
        self.runtime = VirtualRuntime()
        self.calls: list[Call] = []
        self._replies = deque(replies)
        self.door = Door(self.open, self.runtime, self.runtime, lambda: scope, **door)

    async def open(self, call: Call) -> Reply:
        self.calls.append(call)
        call.trail.attempts.append(Attempt("openai/gpt", "ok", "ok"))
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply


class Blocking(Face):
    def __init__(self, door: Door) -> None:
        self._door = door


class InColour:
    """Asks a house from plain code or on an event loop."""

    def __init__(self, name: str) -> None:
        self.blocking = name == "blocking"

    def ask(self, house: House, verb: str, *args: Any, **params: Any) -> Any:
        if self.blocking:
            return getattr(Blocking(house.door), verb)(*args, **params)
        asking: Awaitable[Any] = getattr(AsyncFace(house.door), verb)(*args, **params)

        async def awaited() -> Any:
            return await asking

        return asyncio.run(awaited())

    def stream(self, house: House, *args: Any, **params: Any) -> Any:
        return (Blocking(house.door) if self.blocking else AsyncFace(house.door)).stream(*args, **params)

    def read(self, stream: Any, most: int = 99) -> list[Chunk]:
        """Up to so many chunks; the stream is closed then."""
        if isinstance(stream, Stream):
            with stream:
                return [chunk for chunk, _ in zip(stream, range(most), strict=False)]

        async def reading() -> list[Chunk]:
            found: list[Chunk] = []
            async with stream:
                async for chunk in stream:
                    found.append(chunk)
                    if len(found) == most:
                        break
            return found

        return asyncio.run(reading())


@pytest.fixture(params=["blocking", "asyncio"])
def colour(request: pytest.FixtureRequest) -> InColour:
    return InColour(request.param)


def replied(*batches: Sequence[Chunk] | Exception, **circumstances: Any) -> Reply:
    rest = deque(batches)

    async def source() -> Sequence[Chunk]:
        step = rest.popleft() if rest else ()
        if isinstance(step, Exception):
            raise step
        return step

    return Reply((), source, deployment=DEPLOYMENT, **circumstances)


class TestVerbs:
    """`Face` and `AsyncFace`."""

    @pytest.mark.parametrize(
        ("verb", "args", "answer", "request_"),
        [
            ("chat", ("fast", "hello"), HI, Request("chat", "", {"messages": HELLO})),
            ("complete", ("fast", "Once"), HI, Request("complete", "", {"prompt": "Once"})),
            ("embed", ("fast", ["a"]), Embeddings(vectors=[[1.0]]), Request("embed", "", {"input": ["a"]})),
            ("request", ("up", "get", "/x"), RawResponse(), Request("request", body=None, method="GET", path="/x")),
        ],
    )
    def test_ask_and_answer(
        self, colour: InColour, verb: str, args: tuple[Any, ...], answer: Any, request_: Request
    ) -> None:
        """
        What was asked arrives at the door, and the answer comes back with who gave it and how.
        """
        house = House(Reply.of(copy.copy(answer), deployment=DEPLOYMENT, request_id="req_1"))
        found = colour.ask(house, verb, *args)

        request_.encoded = b"" if request_.body is None else json.dumps(request_.body, separators=(",", ":")).encode()
        assert (request_, args[0]) == (house.calls[0].request, house.calls[0].route)
        assert answer == found
        assert ("openai/gpt", "openai", "req_1", None) == (
            found.deployment, found.provider, found.request_id, found.cached,
        )  # fmt: skip
        assert Decimal("0.5") == found.cost
        assert [Attempt("openai/gpt", "ok", "ok")] == found.attempts

    def test_pieces_become_an_answer(self, colour: InColour) -> None:
        """
        An upstream's stream is folded for whoever asked for the whole.
        """
        house = House(replied(*([chunk] for chunk in explode(HI))))

        assert HI == colour.ask(house, "chat", "fast", "hello")

    def test_an_answer_out_of_a_cache_is_free(self, colour: InColour) -> None:
        """
        It says which tier it came from, and costs nothing whatever it cost once.
        """
        answer = colour.ask(
            House(Reply.of(copy.copy(HI), cached="memory", deployment=DEPLOYMENT)), "chat", "fast", "hello"
        )

        assert ("memory", Decimal(0)) == (answer.cached, answer.cost)

    def test_an_error_is_the_callers(self, colour: InColour) -> None:
        """
        What fails at the door or on the way is raised.
        """
        for house in (House(Overloaded("busy")), House(replied(explode(HI)[:1], Overloaded("busy")))):
            with pytest.raises(Overloaded):
                colour.ask(house, "chat", "fast", "hello")

    @pytest.mark.parametrize(
        ("said", "scope", "seconds"),
        [
            ({}, None, 120.0),
            ({"timeout": "5s"}, None, 5.0),
            ({}, Options(timeout_s=9.0), 9.0),
            ({"tenant": "a"}, None, 120.0),
        ],
    )
    def test_a_call_has_a_deadline(
        self, colour: InColour, said: dict[str, Any], scope: Options | None, seconds: float
    ) -> None:
        """
        Its own time-out, the scope's, or the default of a whole answer; counted from now.
        """
        house = House(Reply.of(copy.copy(HI)), scope=scope)
        house.runtime.run(house.runtime.sleep(1000.0))
        colour.ask(house, "chat", "fast", "hello", **said)

        assert (1000.0, 1000.0 + seconds) == (house.calls[0].started, house.calls[0].deadline)

    def test_defaults_hold_outside_of_every_scope(self, colour: InColour) -> None:
        """
        A door's defaults are the options where neither call nor scope says anything.
        """
        defaults = Options(tenant="house")
        for scope, expected in ((None, "house"), (Options(tenant="scope"), "scope")):
            house = House(Reply.of(copy.copy(HI)), Reply.of(copy.copy(HI)), scope=scope, defaults=defaults)
            colour.ask(house, "chat", "fast", "hello")
            colour.ask(house, "chat", "fast", "hello", tenant="own")
            assert [expected, "own"] == [call.options.tenant for call in house.calls]

    def test_wrong_input_asks_nobody(self, colour: InColour) -> None:
        """
        What is refused never reaches the door.
        """
        house = House()
        for verb, args, params in (
            ("chat", ("fast", []), {}),
            ("chat", ("fast", "hello"), {"timeout": "soon"}),
            ("complete", ("fast", None), {}),
            ("embed", ("fast", ""), {}),
            ("request", ("up", "GET", "x"), {}),
        ):
            with pytest.raises(BadRequest):
                colour.ask(house, verb, *args, **params)
        with pytest.raises(BadRequest):
            colour.stream(house, "fast", [])

        assert [] == house.calls


class TestStreams:
    """`Stream` and `AsyncStream`."""

    def test_bring_the_pieces_and_then_the_whole(self, colour: InColour) -> None:
        """
        After the last piece the response is there, once made, with all that is known about it.
        """
        house = House(replied(*([chunk] for chunk in explode(HI)), request_id="req_1"))
        stream = colour.stream(house, "fast", "hello")
        chunks = colour.read(stream)

        assert explode(HI) == chunks
        assert HI == stream.response
        assert stream.response is stream.response
        assert ("openai/gpt", "req_1", Decimal("0.5")) == (
            stream.response.deployment, stream.response.request_id, stream.response.cost,
        )  # fmt: skip
        assert house.calls[0].request.stream
        assert 600.0 == house.calls[0].deadline

    def test_a_whole_answer_comes_in_pieces(self, colour: InColour) -> None:
        """
        What a cache or a function had in one piece is streamed all the same, and its response is that answer.
        """
        stream = colour.stream(House(Reply.of(copy.copy(HI), cached="memory")), "fast", "hello")
        chunks = colour.read(stream)

        assert explode(HI) == chunks
        assert HI == stream.response
        assert "memory" == stream.response.cached

    def test_nothing_is_asked_before_somebody_reads(self, colour: InColour) -> None:
        """
        Making a stream asks nobody, and one that is thrown away was never a call.
        """
        house = House()
        stream = colour.stream(house, "fast", "hello")

        assert [] == house.calls
        assert stream.deployment is None
        assert repr(stream).endswith("Stream fast new>")

    def test_what_is_asked_is_what_was_said(self, colour: InColour) -> None:
        """
        A conversation that goes on between the making and the reading of a stream does not change the question.
        """
        house = House(Reply.of(copy.copy(HI)))
        messages: list[Any] = copy.deepcopy(HELLO)
        stream = colour.stream(house, "fast", messages)
        messages[0]["content"] = "something else"
        messages.append({"role": "assistant", "content": "?"})
        colour.read(stream)

        assert {"messages": HELLO} == house.calls[0].request.body == json.loads(house.calls[0].request.encoded)

    @pytest.mark.parametrize("most", [1, 2])
    def test_leaving_closes(self, colour: InColour, most: int) -> None:
        """
        Whoever leaves early closes the reply; there is no response then, and reading on is an error.
        """
        reply = replied(*([chunk] for chunk in explode(HI)))
        stream = colour.stream(House(reply), "fast", "hello")
        colour.read(stream, most)

        assert reply.ended is not None and "closed" == reply.ended.name
        assert repr(stream).endswith("Stream fast closed>")
        with pytest.raises(RuntimeError, match="not been read to its end"):
            stream.response
        with pytest.raises(RuntimeError, match="closed before its end"):
            colour.read(stream)

    def test_leaving_unread_closes(self, colour: InColour) -> None:
        """
        A stream that was entered and not read is closed, too.
        """
        reply = replied(explode(HI))
        stream = colour.stream(House(reply), "fast", "hello")

        async def entered() -> None:
            async with stream:
                assert "openai/gpt" == stream.deployment
                assert repr(stream).endswith("Stream fast open>")

        if colour.blocking:
            with stream:
                assert "openai/gpt" == stream.deployment
        else:
            asyncio.run(entered())

        assert reply.ended is not None and "closed" == reply.ended.name

    def test_a_broken_stream_says_what_came(self, colour: InColour) -> None:
        """
        The interruption holds the answer as far as it came; there is no response.
        """
        house = House(replied([Chunk("Hi ")], StreamInterrupted("cut")))
        stream = colour.stream(house, "fast", "hello")
        with pytest.raises(StreamInterrupted) as caught:
            colour.read(stream)

        assert "Hi " == caught.value.partial.text
        with pytest.raises(RuntimeError, match="not been read to its end"):
            stream.response

    def test_a_stream_that_could_not_be_opened_stays_so(self, colour: InColour) -> None:
        """
        The error is raised where the stream is opened; trying the same stream again asks nobody.
        """
        house = House(ConnectionFailed("nobody there"))
        stream = colour.stream(house, "fast", "hello")
        with pytest.raises(ConnectionFailed):
            colour.read(stream)
        with pytest.raises(RuntimeError, match="could not be opened"):
            colour.read(stream)

        assert 1 == len(house.calls)

    def test_without_with(self) -> None:
        """
        Iterating alone is enough: it opens, and it closes when the loop is left for good.
        """
        for most in (1, 99):
            reply = replied(*([chunk] for chunk in explode(HI)))
            reading = iter(Blocking(House(reply).door).stream("fast", "hello"))
            for _, _ in zip(range(most), reading, strict=False):
                pass
            reading.close()  # type: ignore[attr-defined] - what leaving the loop does
            assert reply.ended is not None and reply.ended.name == ("closed" if most == 1 else "ok")

    async def test_without_async_with(self) -> None:
        """
        The same on an event loop.
        """
        for most in (1, 99):
            reply = replied(*([chunk] for chunk in explode(HI)))
            stream = AsyncFace(House(reply).door).stream("fast", "hello")
            found = 0
            async for _ in stream:
                found += 1
                if found == most:
                    break
            await stream.aclose()
            assert isinstance(stream, AsyncStream)
            assert reply.ended is not None and reply.ended.name == ("closed" if most == 1 else "ok")


class TestDiscovered:
    """`discovered`."""

    def find(self, *replies: Any) -> tuple[House, Models]:
        house = House(*replies)
        names = ["a", "b"][: len(replies)]
        return house, house.runtime.run(discovered(house.door, house.runtime, names))

    def test_puts_the_lists_together(self) -> None:
        """
        Every provider is asked for its models, and each model says whose it is.
        """
        house, found = self.find(Reply.of(Models(data=[Model("x")])), Reply.of(Models(data=[Model("y"), Model("z")])))

        assert [("a", "x"), ("b", "y"), ("b", "z")] == [(model.provider, model.id) for model in found]
        assert ["models", "models"] == [call.request.verb for call in house.calls]
        assert 2 == len(found.attempts)

    def test_leaves_out_who_cannot_say(self) -> None:
        """
        One that fails is left out; when all fail, the first one's error is raised.
        """
        _, found = self.find(Overloaded("busy"), Reply.of(Models(data=[Model("y")])))

        assert ["y"] == [model.id for model in found]
        with pytest.raises(GatewayError, match="first"):
            self.find(Overloaded("first"), Overloaded("second"))
        assert [] == [*self.find()[1]]
