"""The rows of the catalog: complete, and true to the requests that were recorded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest

import llmgate
from llmgate import Function, OpenAI, Simulated, VertexAI
from llmgate.config import settings_from
from llmgate.config.kinds import known_kinds, provider_class
from llmgate.dialects import dialect_named
from llmgate.providers.catalog import ROWS, Row, row_named
from llmgate.providers.http import address
from llmgate.testing import ScriptedServer, chat
from llmgate.types.deployment import ProviderCapability

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

PROMISED = (
    "openai", "anthropic", "azure", "gemini", "vertex", "bedrock", "cohere", "xai", "groq", "mistral", "deepseek",
    "openrouter", "perplexity", "together", "fireworks", "blackbox", "cerebras", "moonshot", "huggingface", "venice", "zai",
    "alibaba", "doubleword", "copilot", "ollama", "llamacpp", "vllm", "gpustack", "mistralrs", "openai-compatible",
)  # fmt: skip
ANYBODY = "openai-compatible"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_is_whole(row: Row) -> None:
    """
    A row has a source and a day, a dialect that exists, an address that is one, header names in lower case, and says what
    can be asked for, unless it stands for anybody.
    """
    assert row.source.startswith("https://") and date.fromisoformat(row.checked)
    assert dialect_named(row.dialect)
    assert row.header == row.header.lower()
    if row.name == ANYBODY:
        assert row.capabilities is None
    else:
        assert row.capabilities is not None
        assert ProviderCapability.CHAT in row.capabilities <= {*ProviderCapability}
    assert not row.base_url or (address(row.base_url) and not row.base_url.endswith("/"))
    assert all(name.isupper() for name in row.key_env)


def test_names_are_told_apart() -> None:
    """
    No name or alias stands for two rows, and each is found.
    """
    names = [name for row in ROWS for name in (row.name, *row.aliases)]

    assert len(names) == len(set(names))
    assert all(row is row_named(name) for row in ROWS for name in (row.name, *row.aliases))
    assert row_named("nobody") is None


def test_the_promised_ones_are_there() -> None:
    """
    Every promised provider can be named in a configuration, and Grok by its own name.
    """
    assert set(PROMISED) <= set(known_kinds())
    assert "xai" == row_named("grok").name  # type: ignore[union-attr]


@pytest.mark.parametrize("row", [row for row in ROWS if row.base_url and row.key_env], ids=lambda row: row.name)
def test_a_key_is_all_that_is_needed(row: Row) -> None:
    """
    With its variable set, a section without any option is a provider at its usual address.
    """
    settings = settings_from({"providers": {row.name: {}}}, {row.key_env[0]: "a-key"})
    provider: Any = settings.providers[row.name]

    assert (address(row.base_url)[0], 1) == (provider.origin(), len(provider.credentials()))


@pytest.mark.parametrize("row", [row for row in ROWS if row.capabilities is not None], ids=lambda row: row.name)
def test_what_is_declared_can_be_asked(row: Row) -> None:
    """
    A provider can do what its row says, in the format that it is asked in, or over another one of its APIs.
    """
    cls, options = provider_class(row.name)
    apis = get_args(cls.model_fields["api"].annotation) if "api" in cls.model_fields else (None,)
    able = [cls(**options, **({} if api is None else {"api": api})).capabilities() for api in apis]

    assert row.capabilities == frozenset().union(*(can for can in able if can is not None))


def test_what_a_class_can_do_depends_on_more_than_its_row() -> None:
    """
    Claude on Vertex AI has no vectors; who stands in for OpenAI may do anything; a function does what it was given for.
    """
    assert {"embed"} <= (VertexAI(project="p").capabilities("text-embedding-005") or set())
    assert not {"embed", "image"} & (VertexAI(project="p").capabilities("claude-opus-4-6") or {"embed"})
    assert OpenAI(api_key="k").capabilities() == OpenAI(base_url="https://api.openai.com/v1").capabilities() is not None
    assert OpenAI(api_key="k", base_url="https://proxy.example/v1").capabilities() is None
    assert {*ProviderCapability} == Simulated().capabilities()
    verbs = {"chat", "complete", "embed", "image", "models"}
    assert {"chat", "complete"} == verbs & Function(print).capabilities()  # type: ignore[operator]
    assert {"embed"} == verbs & Function(embedder=print).capabilities()  # type: ignore[operator]
    assert {"tools", "vision", "stream"} <= Function(print).capabilities()  # type: ignore[operator]


NEWCOMER = """
    Row(
        "newcomer", "{base_url}", ("NEWCOMER_API_KEY",), capabilities=TEXT,
        source="https://docs.newcomer.example/api", checked="2026-11-21",
    ),
"""
ASKING = """
import llmgate
from llmgate import Function, OpenAI, Simulated, VertexAI
from llmgate.config.kinds import known_kinds, provider_class

with llmgate.Gateway({"providers": {"newcomer": {}}}) as gateway:
    print(gateway.chat("newcomer/any-model", "hello").text)
    print("newcomer" in known_kinds())
    try:
        gateway.embed("newcomer/any-model", "hello")
    except llmgate.BadRequest as error:
        print("embed" in error.message)
"""


def test_a_new_upstream_is_one_row(tmp_path: Path, server: ScriptedServer) -> None:
    """
    Who adds a row to the catalog, and nothing else anywhere, can name the upstream in a configuration and ask it.
    """
    shutil.copytree(Path(llmgate.__file__).parent, tmp_path / "llmgate", ignore=shutil.ignore_patterns("__pycache__"))
    catalog = tmp_path / "llmgate" / "providers" / "catalog.py"
    text = catalog.read_text()
    end = text.index(")  # fmt: skip", text.index("ROWS: tuple[Row, ...] = ("))
    catalog.write_text(text[:end] + NEWCOMER.format(base_url=f"{server.origin}/v1") + text[end:])
    server.answer(chat("good day"))

    told = subprocess.run(
        [sys.executable, "-c", ASKING],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"NEWCOMER_API_KEY": "a-new-key"},
    ).stdout

    assert ["good day", "True", "True"] == told.split("\n")[:3]
    assert ("/v1/chat/completions", "Bearer a-new-key") == (
        server.requests[0].path,
        server.requests[0].headers["authorization"],
    )


def test_price_ids_are_those_of_the_price_list() -> None:
    """
    A row's name in the price list is in the price list.
    """
    snapshot = pytest.importorskip("genai_prices.data_snapshot").get_snapshot()

    assert {row.price_id for row in ROWS if row.price_id} <= {provider.id for provider in snapshot.providers}


PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings", "models": "/models"}
ELSEWHERE = {
    ("together", "api.together.xyz"),  # the older of two hosts
    ("ollama", "ollama.com"),  # the cloud, which wants a key
    ("ollama", "localhost"),
    ("vllm", "localhost"),
    ("huggingface", "api-inference.huggingface.co"),  # retired
}


def recorded() -> Iterator[tuple[Row, str, str]]:
    """The addresses to which compatible upstreams were asked, with what was asked for."""
    for row in ROWS:
        path = CORPUS / f"{row.name}.jsonl"
        if row.dialect != "openai_chat" or not path.exists():
            continue
        for line in path.read_text().splitlines():
            record = json.loads(line)
            url = record["url"].replace("recorded://", "https://recorded.")
            if record["kind"] in PATHS and not url.startswith("https://recorded."):
                yield row, record["kind"], url


def test_addresses_are_the_recorded_ones() -> None:
    """
    What was recorded went to the row's address and the dialect's path below it.
    """
    if not CORPUS.exists():
        pytest.skip("no recorded requests here")
    agreeing = 0
    for row, kind, url in recorded():
        if not row.base_url or "://<" in url or (row.name, urlsplit(url).hostname) in ELSEWHERE:
            continue
        verb = {"completions": "complete", "embeddings": "embed"}.get(kind, kind)
        path = row.quirks.paths.get(verb, PATHS[kind])
        if url.partition("#")[0].partition("?")[0] == row.base_url + path:
            agreeing += 1
        else:
            assert (row.name, kind) in OTHER_PATHS, f"{row.name}: {url}"

    assert agreeing > 200


OTHER_PATHS = {
    ("huggingface", "chat"),  # the router takes the name of a provider in the path, too
    ("deepseek", "chat"),  # /v1 means the same there
    ("zai", "chat"),  # its coding plan has a path of its own
    ("ollama", "chat"), ("ollama", "embeddings"), ("ollama", "models"),  # its own language, beside OpenAI's
}  # fmt: skip


def test_quirks_are_those_of_the_recorded_requests() -> None:
    """
    Whoever is sent `stream_options` by us was recorded answering requests with it, or without a record says so in its docs.
    """
    if not CORPUS.exists():
        pytest.skip("no recorded requests here")
    refused = []
    for row in ROWS:
        path = CORPUS / f"{row.name}.jsonl"
        if row.dialect != "openai_chat" or not row.quirks.stream_usage or not path.exists():
            continue
        records = [json.loads(line) for line in path.read_text().splitlines()]
        bodies = [(record["request_json"], record["response_status"]) for record in records if record["kind"] == "chat"]
        asked = [status for body, status in bodies if isinstance(body, dict) and body.get("stream_options")]
        if asked and 200 not in asked:
            refused.append(row.name)

    assert [] == refused
