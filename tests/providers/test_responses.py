"""OpenAI over the Responses API."""

from __future__ import annotations

import json

import pytest

from llmgate import OpenAI, OpenAICompatible
from llmgate.testing import ScriptedServer, http_response

ANSWER = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [
        {
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
}  # fmt: skip


@pytest.mark.parametrize("provider", [OpenAI, OpenAICompatible])
def test_a_chat_goes_over_responses_if_that_is_said(provider: type[OpenAI]) -> None:
    """
    With `api: responses` a chat is asked at /responses, in its format, and answered like any other.
    """
    with ScriptedServer() as server:
        server.answer(http_response(200, json.dumps(ANSWER).encode(), {"content-type": "application/json"}))
        with provider(base_url=server.base_url, api_key="sk-x", api="responses") as asked:
            reply = asked.chat("m", "hi")

    assert "hello" == reply.text
    assert 4 == reply.usage.total_tokens
    assert "/v1/responses" == server.requests[0].path
    assert "input" in server.requests[0].json()
