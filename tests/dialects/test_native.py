"""What a caller says in the format of the upstream reaches it as it was said, whatever that is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects import DIALECTS, dialect_named
from llmgate.dialects.base import Quirks
from llmgate.types.request import Request, Verb

Json = dict[str, Any]

NEW: Json = {"brand_new": {"b": [1.5, None, {"type": "never seen"}], "a": ""}, "empty": None}
BODIES: dict[str, Json] = {
    "anthropic_messages": {"model": "old", "max_tokens": 1, "messages": [{"role": "narrator", "content": 7}]},
    "anthropic_vertex": {"anthropic_version": "vertex-2023-10-16", "max_tokens": 1, "messages": []},
    "bedrock": {"messages": [{"role": "narrator", "content": [{"hologram": {}}]}]},
    "cohere": {"model": "old", "messages": [{"role": "narrator"}]},
    "gemini": {"contents": [{"role": "narrator", "parts": [{"hologram": {}}]}], "generation_config": {"topK": 1}},
    "ollama": {"model": "old", "messages": [{"role": "narrator"}], "stream": False},
    "openai_chat": {"model": "old", "messages": [{"role": "narrator"}]},
    "openai_responses": {"model": "old", "input": [{"type": "hologram"}]},
}
"""A chat of each format, with something in it that nobody has heard of."""


def sent(request: Request, dialect: str, **quirks: Any) -> tuple[str, Any, dict[str, str]]:
    written = dialect_named(dialect).write_request(request, Quirks(**quirks))
    return written.path, json.loads(written.body), dict(written.headers)


def heard(dialect: str, **more: Any) -> Request:
    return dialect_named(dialect).read_request("chat", BODIES[dialect] | NEW | more)


@pytest.mark.parametrize("name", BODIES)
def test_whatever_is_said_is_said_again(name: str) -> None:
    """
    Words that we do not know, and could not translate, reach an upstream of their format, and so does null.
    """
    said = BODIES[name] | NEW

    assert said == sent(heard(name), name)[1]
    assert said | ({"model": "new"} if "model" in said else {}) == sent(heard(name).to("new"), name)[1]
    assert BODIES[name] | NEW == said


@pytest.mark.parametrize("name", BODIES)
def test_the_way_of_the_answer_can_be_changed(name: str) -> None:
    """
    A middleware may want a stream where a whole answer was asked for, and the other way round.
    """
    told = name not in ("bedrock", "gemini")
    for said, wanted in ((True, False), (False, True)):
        request = heard(name, stream=said)
        assert said is request.stream
        request.stream = wanted
        path, body, _ = sent(request, name)

        assert (wanted if told else None) is body.get("stream")
        assert told or ("stream" in path.lower()) is wanted


@pytest.mark.parametrize("name", BODIES)
def test_an_upstream_is_given_its_own_names(name: str) -> None:
    """
    What one upstream calls otherwise or refuses, it calls otherwise and refuses from everybody.
    """
    body = sent(heard(name), name, rename={"brand_new": "newer"}, drop=frozenset({"empty"}))[1]

    assert NEW["brand_new"] == body["newer"]
    assert not {"brand_new", "empty"} & body.keys()


@pytest.mark.parametrize("name", BODIES)
def test_a_changed_request_is_translated(name: str) -> None:
    """
    Once somebody has changed what it asks for, the caller's own body no longer counts.
    """
    request = dialect_named(name).read_request("chat", READABLE[name]).but(temperature=0.5)
    said = json.dumps(sent(request.to("m"), name)[1])

    assert '"temperature": 0.5' in said
    assert "hello" in said


READABLE: dict[str, Json] = {
    name: {"messages": [{"role": "user", "content": "hello"}]}
    for name in ("anthropic_messages", "anthropic_vertex", "cohere", "ollama", "openai_chat")
} | {
    "bedrock": {"messages": [{"role": "user", "content": [{"text": "hello"}]}]},
    "gemini": {"contents": [{"parts": [{"text": "hello"}]}]},
    "openai_responses": {"input": "hello"},
}


@pytest.mark.parametrize("name", [name for name in DIALECTS if name in BODIES])
@pytest.mark.parametrize("other", ["cohere", "openai_chat"])
def test_another_format_is_never_handed_it(name: str, other: str) -> None:
    """
    Of a caller's own body an upstream of another format sees nothing but its translation.
    """
    request = dialect_named(name).read_request("chat", READABLE[name])
    body = sent(request.to("m"), other)[1]

    assert [{"role": "user", "content": "hello"}] == body["messages"]
    assert "m" == body["model"]


class TestAnthropic:
    """Claude, at Anthropic's and elsewhere."""

    def test_betas_travel_in_a_header(self) -> None:
        """
        What the caller's header asked for is asked for in a header, and is no part of the body.
        """
        _, body, headers = sent(heard("anthropic_messages", betas=["a-1", "b-2"]).to("m"), "anthropic_messages")

        assert "a-1,b-2" == headers["anthropic-beta"]
        assert "betas" not in body
        assert "anthropic-beta" not in sent(heard("anthropic_messages"), "anthropic_messages")[2]

    def test_one_format_has_two_addresses(self) -> None:
        """
        A client of Anthropic's reaches Claude on Vertex AI with its own words, and the other way round.
        """
        hosted = sent(heard("anthropic_messages").to("m"), "anthropic_vertex")[1]
        at_home = sent(heard("anthropic_vertex").to("m"), "anthropic_messages")[1]

        said = BODIES["anthropic_messages"] | NEW
        assert said | {"anthropic_version": "vertex-2023-10-16"} == hosted | {"model": "old"}
        assert BODIES["anthropic_vertex"] | NEW | {"model": "m"} == at_home | {"anthropic_version": "vertex-2023-10-16"}
        assert "model" not in hosted
        assert "anthropic_version" not in at_home

    def test_each_cloud_has_versions_of_its_own(self) -> None:
        """
        What a client of Google's names as the version is not told to Amazon; a version that is nobody's stands.
        """
        claude = "anthropic.claude-sonnet-4-5-v1:0"

        at_amazons = sent(heard("anthropic_vertex").to(claude), "bedrock_invoke")[1]
        assert "bedrock-2023-05-31" == at_amazons["anthropic_version"]
        assert (
            "2027"
            == sent(heard("anthropic_vertex", anthropic_version="2027").to("m"), "anthropic_vertex")[1][
                "anthropic_version"
            ]
        )


class TestEmbeddings:
    """Where one verb has several forms, each goes to its own address."""

    @pytest.mark.parametrize(
        ("name", "body", "paths", "path"),
        [
            ("cohere", {"texts": ["a"], "embedding_types": ["int8"]}, {}, "/v2/embed"),
            ("cohere", {"texts": ["a"], "truncate": "END"}, {}, "/v1/embed"),
            ("gemini", {"requests": [{"content": {"parts": [{"text": "a"}]}, "new": 1}]}, {}, "/models/m:batchEmbedContents"),
            ("gemini", {"content": {"parts": [{"text": "a"}, {"new": 1}]}}, {}, "/models/m:embedContent"),
            ("gemini", {"instances": [{"new": 1}]}, {"embed": "/models/{model}:predict"}, "/models/m:predict"),
            ("ollama", {"model": "m", "input": ["a"], "new": 1}, {}, "/api/embed"),
            ("ollama", {"model": "m", "prompt": "a", "new": 1}, {"embed": "/api/embeddings"}, "/api/embeddings"),
            ("openai_chat", {"model": "m", "input": [[1, 2]], "new": 1}, {}, "/embeddings"),
        ],
    )  # fmt: skip
    def test_go_where_they_are_understood(self, name: str, body: Json, paths: Json, path: str) -> None:
        """
        A body arrives as it was at the address that takes it.
        """
        request = dialect_named(name).read_request("embed", body)
        to, said, _ = sent(request.to("m"), name, paths=paths)

        known = {"requests": [one | {"model": "models/m"} for one in body["requests"]]} if "requests" in body else {}
        assert (path, {"model": "m"} | body | known if name == "cohere" else body | known) == (to, said)

    @pytest.mark.parametrize(
        ("model", "body", "same"),
        [
            ("amazon.titan-embed-text-v2:0", {"inputText": "a", "new": 1}, True),
            ("cohere.embed-v4:0", {"texts": ["a"], "new": 1}, True),
            ("amazon.nova-2-multimodal-embeddings-v1:0", {"taskType": "X", "new": 1}, True),
            ("arn:aws:bedrock:profile/p", {"new": 1}, True),
            ("cohere.embed-v4:0", {"inputText": "a"}, False),
            ("amazon.titan-embed-text-v2:0", {"texts": ["a"]}, False),
        ],
    )
    def test_of_one_maker_are_not_asked_of_another(self, model: str, body: Json, same: bool) -> None:
        """
        On Bedrock each maker's models have a form of their own; for another maker it is translated.
        """
        request = dialect_named("bedrock").read_request("embed", body).to(model)

        assert same is (body == sent(request, "bedrock")[1])


@pytest.mark.parametrize(("body", "path"), [({"messages": []}, "/v2/chat"), ({"message": "hi"}, "/v1/chat")])
def test_a_caller_of_coheres_version_1_is_answered_there(body: Json, path: str) -> None:
    """
    The two versions have different bodies at different addresses.
    """
    request = dialect_named("cohere").read_request("chat", body)

    assert (path, body) == sent(request, "cohere")[:2]


@pytest.mark.parametrize(("verb", "key"), [("complete", "prompt"), ("embed", "input"), ("chat", "messages")])
def test_usage_is_not_asked_for_in_a_callers_name(verb: Verb, key: str) -> None:
    """
    Who is handed a stream as it comes gets what it asked for; of others' streams the counts are wanted.
    """
    options = {"include_obfuscation": False}
    for said in ({}, {"stream_options": options}):
        own = dialect_named("openai_chat").read_request(verb, {"model": "m", key: [], "stream": True, **said})

        assert said.get("stream_options") == sent(own, "openai_chat")[1].get("stream_options")
        assert {"include_usage": True} | said.get("stream_options", {}) == sent(own.but(), "openai_chat")[1][
            "stream_options"
        ]
