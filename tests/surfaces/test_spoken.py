"""What a request of somebody's SDK asks for, by its method and its path."""

from __future__ import annotations

import pytest

from llmgate.dialects import DIALECTS
from llmgate.surfaces.spoken import FORMS, Spoken, spoken

ANTHROPIC = {b"anthropic-version": b"2023-06-01"}


@pytest.mark.parametrize(
    ("request_line", "meant"),
    [
        ("POST /v1/chat/completions", Spoken("openai_chat", "chat", "/v1")),
        ("POST /chat/completions", Spoken("openai_chat", "chat")),
        ("POST /a/b/c/chat/completions", Spoken("openai_chat", "chat", "/a/b/c")),
        ("POST /v1/completions", Spoken("openai_chat", "complete", "/v1")),
        ("POST /v1/embeddings", Spoken("openai_chat", "embed", "/v1")),
        ("POST /v1/images/generations", Spoken("openai_chat", "image", "/v1")),
        ("POST /v1/moderations", Spoken("openai_chat", "moderate", "/v1")),
        ("POST /v1/images/edits", Spoken("openai_chat", "image", "/v1")),
        ("POST /v1/audio/speech", Spoken("openai_chat", "speak", "/v1")),
        ("POST /v1/audio/transcriptions", Spoken("openai_chat", "transcribe", "/v1")),
        ("POST /v1/responses", Spoken("openai_responses", "chat", "/v1")),
        ("POST /v1/responses/input_tokens", Spoken("openai_responses", "count_tokens", "/v1")),
        ("GET /v1/models", Spoken("openai_chat", "models", "/v1")),
        (
            "POST /openai/deployments/my%20gpt/chat/completions",
            Spoken("openai_chat", "chat", "/openai/deployments/my%20gpt", "my gpt"),
        ),
        ("POST /v1/messages", Spoken("anthropic_messages", "chat", "/v1")),
        ("POST /proxy/v1/messages", Spoken("anthropic_messages", "chat", "/proxy/v1")),
        ("POST /v1/messages/count_tokens", Spoken("anthropic_messages", "count_tokens", "/v1")),
        ("POST /v1beta/models/g:generateContent", Spoken("gemini", "chat", "/v1beta", "g")),
        ("POST /v1beta/models/g:streamGenerateContent?alt=sse", Spoken("gemini", "chat", "/v1beta", "g", True)),
        ("POST /v1beta/models/openai/gpt-4o:generateContent", Spoken("gemini", "chat", "/v1beta", "openai/gpt-4o")),
        ("POST /v1beta/models/f/a/models/l:generateContent", Spoken("gemini", "chat", "/v1beta", "f/a/models/l")),
        ("POST /v1beta/tunedModels/t:generateContent", Spoken("gemini", "chat", "/v1beta", "tunedModels/t")),
        ("POST /v1beta/models/g:embedContent", Spoken("gemini", "embed", "/v1beta", "g")),
        ("POST /v1beta/models/g:batchEmbedContents", Spoken("gemini", "embed", "/v1beta", "g")),
        ("POST /v1beta/models/g:countTokens", Spoken("gemini", "count_tokens", "/v1beta", "g")),
        (
            "POST /v1/projects/p/locations/l/publishers/google/models/g:generateContent",
            Spoken("gemini", "chat", "/v1/projects/p/locations/l/publishers/google", "g"),
        ),
        (
            "POST /v1/publishers/anthropic/models/claude-x@1:rawPredict",
            Spoken("anthropic_vertex", "chat", "/v1/publishers/anthropic", "claude-x@1"),
        ),
        (
            "POST /v1/publishers/anthropic/models/c:streamRawPredict",
            Spoken("anthropic_vertex", "chat", "/v1/publishers/anthropic", "c", True),
        ),
        (
            "POST /v1/publishers/anthropic/models/count-tokens:rawPredict",
            Spoken("anthropic_vertex", "count_tokens", "/v1/publishers/anthropic"),
        ),
        ("POST /v1beta/interactions", Spoken("gemini_interactions", "chat", "/v1beta")),
        ("GET /v1beta/models", Spoken("gemini", "models", "/v1beta")),
        ("POST /v2/chat", Spoken("cohere", "chat")),
        ("POST /v2/embed", Spoken("cohere", "embed")),
        ("POST /v2/rerank", Spoken("cohere", "rerank")),
        ("POST /api/chat", Spoken("ollama", "chat")),
        ("POST /behind/api/generate", Spoken("ollama", "complete", "/behind")),
        ("POST /api/embed", Spoken("ollama", "embed")),
        ("GET /api/tags", Spoken("ollama", "models")),
    ],
)
def test_knows_what_is_asked_for(request_line: str, meant: Spoken) -> None:
    """
    Each SDK's own paths are known, whatever base path stands before them.
    """
    method, target = request_line.split(" ")
    path, _, query = target.partition("?")

    assert meant == spoken(method, path, query, {})


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /v1/chat/completions",
        "GET /v1/chat/completions/chatcmpl-1",
        "POST /v1/chat/completions/chatcmpl-1",
        "POST /v1/threads/t/messages",
        "POST /v1/messages/batches",
        "POST /v1/fim/completions",
        "POST /v1/agents/completions",
        "POST /v1/chat/moderations",
        "POST /v1/responses/r/cancel",
        "GET /v1/responses/r",
        "GET /v1/models/gpt-4o",
        "POST /v1/files",
        "GET /v1/files/f/content",
        "POST /v1/batches",
        "POST /v1beta/models/g:streamGenerateContent",
        "POST /v1beta/models/g:predictLongRunning",
        "POST /v1/publishers/mistralai/models/m:rawPredict",
        "POST /v1/audio/translations",
        "GET /v1/videos/v",
        "POST /v1beta/endpoints/7:generateContent",
        "POST /upload/v1beta/files",
        "POST /api/pull",
        "DELETE /api/delete",
        "POST /",
        "GET /",
    ],
)
def test_leaves_the_rest_unread(request_line: str) -> None:
    """
    What is in no table, and what only looks as if it were, passes through.
    """
    method, path = request_line.split(" ")

    assert "request" == spoken(method, path, "", {}).verb


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/files", {}, "openai_chat"),
        ("/v1/files", ANTHROPIC, "anthropic_messages"),
        ("/v1beta/files", {}, "gemini"),
        ("/x", {b"x-goog-api-key": b"k"}, "gemini"),
        ("/api/pull", {}, "ollama"),
        ("/v2/parse", {}, "cohere"),
    ],
)
def test_guesses_in_which_words_to_refuse(path: str, headers: dict[bytes, bytes], dialect: str) -> None:
    """
    Of a request that is not read only the dialect of its errors matters; that is the one its client understands.
    """
    assert Spoken(dialect, "request") == spoken("POST", path, "", headers)


def test_tells_two_lists_of_models_apart() -> None:
    """
    OpenAI and Anthropic list models at one path; Anthropic's clients say that they are that.
    """
    assert Spoken("anthropic_messages", "models", "/v1") == spoken("GET", "/v1/models", "limit=20", ANTHROPIC)


@pytest.mark.parametrize("form", [form for form in FORMS.values() if form is not None], ids=str)
def test_every_form_is_of_a_dialect(form: object) -> None:
    """
    The table names dialects that there are.
    """
    assert form.dialect in DIALECTS  # type: ignore[attr-defined]
