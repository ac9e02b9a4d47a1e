"""The law of the cache key: two calls have one key exactly if they are one question."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from llmgate.policies.cache_key import CacheKey
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.types.call import CacheControl, Call, Options
from llmgate.types.request import Request

RUNTIME = BlockingRuntime()
key = CacheKey()

# Few letters, and those that a careless encoding would trip over, so that near misses are common.
texts = st.text(alphabet='ab1:,"[]{}\\é\u0301 \ud800\udc00?', max_size=3)
numbers = st.one_of(st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.0, 1e300, 10**30]), st.booleans(), st.none())
values = st.recursive(
    numbers | texts, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2)
)
messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "a"]), numbers | texts | values, max_size=2), max_size=2
)
bodies = st.fixed_dictionaries({}, optional={"messages": messages, "a": values, "seed": numbers}) | st.dictionaries(
    st.sampled_from(["messages", "prompt", "tools", "seed", "a", "b"]), values, max_size=3
)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    request = Request(
        draw(st.sampled_from(["chat", "complete", "request"])),
        draw(texts),
        draw(bodies | values),
        method=draw(st.sampled_from(["GET", "POST"])),
        path=draw(texts),
    )
    options = Options(tenant=draw(texts), cache=CacheControl(namespace=draw(texts)), fallback=draw(st.booleans()))
    return Call(request, RUNTIME, draw(texts), options, fingerprint=draw(texts))


def question(call: Call) -> Any:
    """What is asked, as a value that is equal for the same question only. Written without the key's own encoding."""
    request, options = call.request, call.options
    assert options.cache is not None
    route = call.route if not call.fingerprint else None
    parts = (options.tenant, options.cache.namespace, options.fallback, call.fingerprint, route)
    return (*parts, request.verb, request.model, request.method, request.path, meaning(request.body, top=True))


def meaning(value: Any, ordered: bool = True, top: bool = False) -> Any:
    """A JSON value with its types; an object in its order, or as a set where the order says nothing."""
    if isinstance(value, dict):
        pairs = [(name, meaning(part, name not in ("messages",) if top else ordered)) for name, part in value.items()]
        return ("object", frozenset(pairs) if top or not ordered else tuple(pairs))
    if isinstance(value, list):
        return ("list", tuple(meaning(part, ordered) for part in value))
    return (type(value).__name__, repr(value))


@settings(max_examples=200, deadline=None)
@given(calls(), calls())
def test_different_questions_have_different_keys(one: Call, other: Call) -> None:
    """
    No two questions share a key, whatever their texts hold, and one question has one key.
    """
    assert (question(one) == question(other)) == (key(one) == key(other))


@settings(max_examples=100, deadline=None)
@given(calls(), texts, texts)
def test_parts_do_not_run_into_each_other(call: Call, one: str, other: str) -> None:
    """
    Moving letters from one part to the next makes another key.
    """

    def made(tenant: str, fingerprint: str) -> bytes:
        return key(Call(call.request, RUNTIME, call.route, Options(tenant=tenant), fingerprint=fingerprint))

    assert (made(one, other + "x") == made(one + other, "x")) == (other == "")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), values, max_size=4), st.randoms())
def test_one_body_has_one_key_in_every_order_of_its_parameters(body: dict[str, Any], rng: Any) -> None:
    """
    Shuffled parameters, and a body that has been through JSON and back, have the same key.
    """
    names = list(body)
    rng.shuffle(names)
    shuffled = {name: body[name] for name in names}

    def made(body: Any) -> bytes:
        return key(Call(Request("chat", "", body), RUNTIME, fingerprint="f"))

    assert made(body) == made(shuffled) == made(json.loads(json.dumps(body, ensure_ascii=False)))
