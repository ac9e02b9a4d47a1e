"""The key of a call: what is part of it, and what is not."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest

from llmgate.policies.cache_key import FIELDS, IN_KEY, KNOWN, CacheKey
from llmgate.policies.cacheable import Cacheable
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.types.call import CacheControl, Call, Options
from llmgate.types.media import (
    Image,
    Images,
    Moderation,
    Moderations,
    Ranked,
    Ranking,
    Speech,
    TokenCount,
    Transcription,
    Video,
)
from llmgate.types.request import Original, Request, Verb
from llmgate.types.response import Choice, Embeddings, Model, Models, RawResponse, Response, ToolCall, Value
from llmgate.types.wire import dumps

RUNTIME = BlockingRuntime()
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}
REQUEST = Request("chat", "", BODY)
CALL = Call(REQUEST, RUNTIME, "fast", Options(tenant="acme"), fingerprint="f" * 32)

key = CacheKey()

# Another value for every field, to see whether the key changes with it.
OTHERS: dict[type, dict[str, Any]] = {
    Request: {
        "verb": "complete", "model": "gpt", "body": {"messages": []}, "stream": True, "encoded": b"{}",
        "method": "GET", "path": "/x", "spoken": "french", "headers": [("x-trace", "1")],
    },
    Options: {
        "timeout_s": 1.0, "tenant": "other", "tags": {"a": "b"}, "cache": CacheControl(), "fallback": False,
        "idempotency_key": "once", "unsupported": "drop",
    },
    CacheControl: {
        "read": False, "write": False, "asked": True, "ttl_s": 1.0, "max_age_s": 1.0, "namespace": "n",
    },
    Call: {
        "runtime": BlockingRuntime(), "started": 1.0, "deadline": 1.0, "fingerprint": "other", "trail": None,
        "way": object(), "patience_s": 1.0, "timers": object(), "deployment": object(),
    },
}  # fmt: skip


def with_body(body: Any) -> bytes:
    return key(replace(CALL, request=replace(REQUEST, body=body)))


def changed(kind: type, **change: Any) -> Call:
    """The call with one field of one of its parts changed."""
    if kind is Call:
        return replace(CALL, **change)
    if kind is Request:
        return replace(CALL, request=replace(REQUEST, **change))
    if kind is Options:
        return replace(CALL, options=replace(CALL.options, **change))
    return replace(CALL, options=replace(CALL.options, cache=CacheControl(**change)))


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_every_field_is_classified(kind: type) -> None:
    """
    Whoever adds a field to a call says whether it is part of the cache key.
    """
    assert {field.name for field in fields(kind)} == set(FIELDS[kind])
    assert all(reason for _, reason in FIELDS[kind].values())


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, others in OTHERS.items() for name in others], ids=str
)
def test_the_key_is_made_of_what_the_table_says(kind: type, name: str) -> None:
    """
    A field changes the key if the table says so, and does not if it does not.
    """
    place, _ = FIELDS[kind][name]

    assert (place is IN_KEY) == (key(changed(kind, **{name: OTHERS[kind][name]})) != key(CALL))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, others in OTHERS.items() for name in others], ids=str
)
def test_what_was_asked_before_has_the_same_key(kind: type, name: str) -> None:
    """
    A question that was accepted and asked before, where its key need not be made anew, has the key it always had.
    """
    made, asked = CacheKey(), CacheKey()
    calls = [CALL, changed(kind, **{name: OTHERS[kind][name]})]
    accepted = [replace(call, request=replace(call.request, encoded=dumps(call.request.body))) for call in calls]

    assert [made(call) for call in calls * 2] == [asked(call) for call in accepted * 2]


def test_what_was_asked_before_is_remembered_within_bounds() -> None:
    """
    However many questions of however many tenants were asked, few of their keys are kept, and all of them are right.
    """
    asked, made = CacheKey(), CacheKey()
    for number in range(KNOWN + 10):
        body = {"prompt": "x" * (number % 5 * 600) + str(number)}  # some of them are large
        request = Request("complete", "", body, encoded=dumps(body))
        call = replace(CALL, request=request, options=Options(tenant=str(number % 7)))
        assert made(replace(call, request=replace(request, encoded=b""))) == asked(call)
        assert sum(map(len, asked._known.values())) <= KNOWN

    assert 10 == sum(map(len, asked._known.values()))


def test_the_table_is_tried_whole() -> None:
    """
    The fields that the test above leaves out are those that are themselves classified, and the route.
    """
    left_out = {(kind, name) for kind, names in FIELDS.items() for name in names if name not in OTHERS[kind]}

    assert {(Call, "request"), (Call, "options"), (Call, "route"), (Request, "original")} == left_out


FRENCH: dict[str, Any] = {"modèle": "m", "stream": False, "question": "?"}


def told(body: dict[str, Any], spoken: str = "french", plain: bool = False) -> Call:
    """A call in the caller's own format, whose translation is always the same."""
    return replace(CALL, request=Request.said(spoken, Original(body, lambda _: replace(REQUEST), plain), "chat"))


@pytest.mark.parametrize(
    "other",
    [
        told(FRENCH | {"question": "!"}),
        told(FRENCH, "spanish"),
        CALL,
        replace(CALL, request=told(FRENCH).request.but()),
    ],
)
def test_what_a_caller_said_in_a_format_of_its_own_is_part_of_the_key(other: Call) -> None:
    """
    Two bodies that read the same may be answered differently by an upstream of their format, which is sent the body.
    """
    assert key(told(FRENCH)) != key(other)


@pytest.mark.parametrize("same", [{"stream": True}, {"model": "fast"}])
def test_how_the_answer_travels_is_no_part_of_a_callers_own_words(same: dict[str, Any]) -> None:
    """
    A stream may replay a whole answer, and the model is told apart by the route.
    """
    assert key(told(FRENCH)) == key(told(FRENCH | same))


def test_a_format_whose_body_is_ours_shares_its_answers() -> None:
    """
    Where the translation says all that the original says, callers of both have one cache.
    """
    assert key(CALL) == key(told(FRENCH, plain=True)) == key(told(FRENCH, "spanish", plain=True))


def test_making_a_key_translates_nothing() -> None:
    """
    What only an upstream of the format can read has a key all the same.
    """

    def unreadable(body: Any) -> Request:
        raise AssertionError(f"{body} was translated")

    assert key(replace(CALL, request=Request.said("french", Original(FRENCH, unreadable), "chat")))


def test_a_route_counts_where_it_has_no_fingerprint() -> None:
    """
    A route's name is part of the key only if nothing says what it stands for.
    """
    nameless = replace(CALL, fingerprint="")

    assert key(replace(CALL, route="smart")) == key(CALL)
    assert key(replace(nameless, route="smart")) != key(nameless)
    assert key(replace(nameless, route="f" * 32)) != key(CALL)


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, "1"), (1, True), (0, False), (None, "null"), ([], {}), (0, -0.0)]
)
def test_values_that_differ_on_the_wire_differ(one: Any, other: Any) -> None:
    """
    What Python calls equal, or prints alike, is not one question.
    """
    assert with_body({"seed": one}) != with_body({"seed": other})
    assert with_body(one) != with_body(other)


def test_normal_forms_of_unicode_differ() -> None:
    """
    A composed and a decomposed letter are two texts.
    """
    assert with_body({"prompt": "\u00e9"}) != with_body({"prompt": "e\u0301"})


def test_lone_surrogates_have_keys_of_their_own() -> None:
    """
    Half a character pair gets a key, and not that of the whole.
    """
    assert with_body({"prompt": "\ud83d\ude00"}) != with_body({"prompt": "😀"})
    assert 4 == len({with_body({"prompt": text}) for text in ("\ud83d", "\ude00", "?", "\ufffd")})


def test_the_order_of_parameters_does_not_matter() -> None:
    """
    The order of parameters and of the keys of a message is no part of the question.
    """
    turned = {"temperature": 0, "messages": [{"content": "hello", "role": "user"}]}

    assert with_body(turned) == with_body(BODY)


def test_nor_does_it_within_the_parts_of_a_message() -> None:
    """
    However deep in a message, the order of keys says nothing; the order of its parts does.
    """

    def said(*parts: dict[str, Any]) -> bytes:
        return with_body({"messages": [{"role": "user", "content": list(parts)}]})

    one, other = {"type": "text", "text": "a"}, {"text": "b", "type": "text"}

    assert said(one, other) == said(dict(reversed(one.items())), dict(reversed(other.items())))
    assert said(one, other) != said(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [({5: 1}, {"5": 1}), ({None: "a"}, {"null": "a"}), ({"messages": [{5: 1}]}, {"messages": [{"5": 1}]})],
    ids=str,
)
def test_a_key_is_what_it_is_on_the_wire(one: Any, other: Any) -> None:
    """
    A number, or nothing, as the name of a parameter is sent as a text, and is asked like one.
    """
    assert with_body(one) == with_body(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, ["a", 1]), ({"a": 1}, [["a", 1]]), ({"messages": [{"a": 1}]}, [[["a", 1]]]),
        ({"messages": []}, {}), ({"messages": [{}]}, {"messages": []}), ({"messages": "a"}, {"messages": [{"a": "a"}]}),
        ({"messages": [{"role": "a"}, {"role": "b"}]}, {"messages": [{"role": "a", "role2": "b"}]}),
    ],
    ids=str,
)  # fmt: skip
def test_bodies_of_other_shapes_differ(one: Any, other: Any) -> None:
    """
    Lists that look like parameters, and messages that look like one another, are other questions.
    """
    assert with_body(one) != with_body(other)


def test_the_order_of_a_schema_matters() -> None:
    """
    A model writes the properties in the order of the schema, so another order is another question.
    """

    def asking(*names: str) -> bytes:
        properties = {name: {"type": "string"} for name in names}
        return with_body(BODY | {"response_format": {"type": "json_schema", "json_schema": {"properties": properties}}})

    assert asking("reasoning", "answer") != asking("answer", "reasoning")
    assert asking("reasoning", "answer") == asking("reasoning", "answer")


def test_the_order_of_messages_matters() -> None:
    """
    A list keeps its order.
    """
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]

    assert with_body({"messages": messages}) != with_body({"messages": messages[::-1]})


def test_unknown_parameters_count() -> None:
    """
    What reaches the wire is part of the key, whether the name is known or not.
    """
    assert with_body(BODY | {"new_parameter": 1}) != with_body(BODY)


def test_stream_options_do_not_count() -> None:
    """
    How a stream is cut does not change what it says.
    """
    assert with_body(BODY | {"stream_options": {"include_usage": True}}) == with_body(BODY)


def test_keys_that_cannot_be_sorted_have_a_key() -> None:
    """
    Numbers and texts as names of one object are told apart by what reaches the wire.
    """
    mixed = with_body({"logit_bias": {1: -100, "x": 1}, 5: 1})

    assert mixed == with_body({"logit_bias": {1: -100, "x": 1}, 5: 1})
    assert mixed != with_body({"logit_bias": {1: -99, "x": 1}, 5: 1})


@pytest.mark.parametrize("body", [{"a": math.nan}, {"a": math.inf}, {"a": object()}, {"a": b"bytes"}])
def test_what_is_no_json_has_no_key(body: dict[str, Any]) -> None:
    """
    Infinities, bytes and objects are refused rather than written somehow.
    """
    with pytest.raises((TypeError, ValueError)):
        with_body(body)


def test_nesting_without_end_has_no_key() -> None:
    """
    Ten thousand brackets are refused without harm.
    """
    nested: list[Any] = []
    for _ in range(10_000):
        nested = [nested]

    with pytest.raises(RecursionError):
        with_body({"messages": nested})


def test_both_digests_make_32_bytes() -> None:
    """
    Either hash makes a key of 256 bits, and they do not meet.
    """
    keys = {CacheKey("blake2b")(CALL), CacheKey("sha256")(CALL)}

    assert [32, 32] == [len(key) for key in keys]


def test_a_shared_scope_forgets_the_tenant_alone() -> None:
    """
    Shared answers are shared between tenants, never between credentials, nor with a tenant of the other scope.
    """
    shared = CacheKey(scope="shared")
    other = replace(CALL, options=Options(tenant="other"))
    nobody = replace(CALL, options=Options(tenant=""))

    assert shared(CALL) == shared(other)
    assert shared(CALL) != shared(replace(other, fingerprint="other credential"))
    assert shared(CALL) not in (key(CALL), key(nobody))


def test_a_call_may_name_its_namespace() -> None:
    """
    The namespace of the call stands in for that of the cache.
    """
    named = replace(CALL, options=Options(tenant="acme", cache=CacheControl(namespace="n")))

    assert CacheKey(namespace="n")(CALL) == key(named)
    assert CacheKey(namespace="m")(named) == key(named)


@pytest.mark.parametrize(
    ("temperature", "expected"), [(None, True), (0, True), (0.0, True), (0.2, False), (1, False), ("0.2", False)]
)
def test_sampled_calls_are_not_one_question(temperature: Any, expected: bool) -> None:
    """
    A temperature above 0 asks for another answer each time; none at all does not.
    """
    request = Request("chat", "", {"messages": [], "temperature": temperature})

    assert expected is Cacheable().question(request, None) is Cacheable().question(request, CacheControl())
    assert Cacheable(sampled=True).question(request, None)
    assert Cacheable().question(request, CacheControl(asked=True))


def test_only_the_named_verbs_are_questions() -> None:
    """
    Whatever else a provider has is not cached unless somebody says so.
    """
    request = Request("request", "", {}, path="/files")

    assert not Cacheable().question(request, CacheControl(asked=True))
    assert Cacheable(verbs={"request"}).question(request, None)
    assert Cacheable().question(Request("embed", "", {"input": "a"}), None)


@pytest.mark.parametrize(
    ("verb", "always", "asked"),
    [
        ("moderate", True, True), ("rerank", True, True), ("transcribe", True, True), ("count_tokens", True, True),
        ("image", False, True), ("video", False, True), ("speak", False, True),
        ("video_status", False, False), ("video_content", False, False),
    ],
)  # fmt: skip
def test_what_is_made_is_made_anew(verb: Verb, always: bool, asked: bool) -> None:
    """
    A judgement is the same each time; who has something made twice wants two of it, unless the call asks for the one that
    is there. How something stands is never the same question, whatever is configured.
    """
    request = Request(verb, "", {"prompt": "a"})
    everything = Cacheable(verbs={verb}, sampled=True)

    assert always is Cacheable().question(request, None) is Cacheable().question(request, CacheControl())
    assert asked is Cacheable().question(request, CacheControl(asked=True))
    assert asked is everything.question(request, None)


CALLING = Choice(tool_calls=[ToolCall("1", "pay", "{}")], finish_reason="tool_calls")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(choices=[Choice(text="yes", finish_reason="stop")]), True),
        (Response(choices=[Choice(text="yes")]), True),
        (Response(choices=[Choice(text="", finish_reason="stop")]), False),
        (Response(choices=[]), False),
        (Response(choices=[Choice(text="cut", finish_reason="length")]), False),
        (Response(choices=[Choice(text="hm", finish_reason="content_filter")]), False),
        (Response(choices=[Choice(text="hm", finish_reason="error")]), False),
        (Response(choices=[CALLING]), False),
        (Response(choices=[Choice(text="yes", finish_reason="stop"), Choice(index=1, text="c", finish_reason="length")]), False),
        (Embeddings(vectors=[[1.0]]), True),
        (Embeddings(vectors=[[1.0], []]), False),
        (Embeddings(vectors=[]), False),
        (RawResponse(status=200), True),
        (RawResponse(status=404), False),
        (Images(data=[Image("http://x")]), True),
        (Images(data=[]), False),
        (Moderations(results=[Moderation()]), True),
        (Moderations(results=[]), False),
        (Ranking(results=[Ranked(0, 1.0)]), True),
        (Ranking(results=[]), False),
        (Transcription(text="hi"), True),
        (Transcription(text=""), False),
        (Speech(content=b"x"), True),
        (Speech(content=b""), False),
        (Video(id="v"), True),
        (TokenCount(input_tokens=0), True),
        (Models(data=[Model("m")]), True),
        (Models(data=[]), False),
        (Value(value=[1]), True),
        (Value(value=None), False),
    ],
    ids=str,
)  # fmt: skip
def test_only_good_answers_are_kept(answer: Any, expected: bool) -> None:
    """
    What broke off, was filtered, says nothing or calls a tool is not given again.
    """
    assert expected is Cacheable().answer(answer)


def test_cut_answers_and_tool_calls_are_kept_on_request() -> None:
    """
    Both have an option of their own.
    """
    assert Cacheable(length=True).answer(Response(choices=[Choice(text="cut", finish_reason="length")]))
    assert Cacheable(tool_calls=True).answer(Response(choices=[CALLING]))
