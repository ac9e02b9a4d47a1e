"""Every dialect writes what it says that it has, and refuses by name what it has not."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from llmgate.dialects import DIALECTS, dialect_named
from llmgate.errors import BadRequest
from llmgate.types.request import Request, Verb
from llmgate.types.uploads import upload
from llmgate.types.wire import dumps

from .corpus import PLAIN

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
BODIES: dict[str, Any] = {
    "chat": CHAT, "complete": {"prompt": "Once"}, "embed": {"input": ["a"]}, "models": {}, "request": {"a": 1},
    "count_tokens": CHAT, "image": {"prompt": "a fox"}, "video": {"prompt": "a fox"}, "moderate": {"input": "a"},
    "rerank": {"query": "q", "documents": ["a"]}, "speak": {"input": "a", "voice": "v"},
    "transcribe": {"file": upload(b"RIFF\0\0\0\0WAVE")}, "video_status": {"id": "models/m/operations/v"},
    "video_content": {"id": "models/m/operations/v", "url": "https://host/v"},
}  # fmt: skip
VERBS = sorted({*get_args(Verb)} - {"call"})


def asked(verb: Any) -> Request:
    body = BODIES[verb]
    # On Bedrock the maker's name decides how a model is asked.
    model = {"embed": "amazon.titan-embed-text-v2:0", "complete": "meta.llama3-8b-instruct-v1:0"}.get(verb, "m")
    return Request(verb, "" if verb in ("models", "request") else model, body, False, dumps(body), path="/x")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_verb_is_written_or_refused(name: str, verb: str) -> None:
    """
    What is among its verbs has a method and a path; what is not is a refusal that names it, and nothing else.
    """
    dialect = dialect_named(name)
    if verb in dialect.verbs:
        out = dialect.write_request(asked(verb), PLAIN)
        assert out.method in ("GET", "POST")
        assert out.path.startswith(("/", "https://"))
        assert (out.method == "POST") == bool(out.body)
    elif name not in ("openai_chat", "openai_responses"):
        # Those two are asked by providers that know more verbs than their format has: rows have paths of their own.
        with pytest.raises(BadRequest, match=verb):
            dialect.write_request(asked(verb), PLAIN)
