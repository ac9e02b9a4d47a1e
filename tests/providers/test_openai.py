"""OpenAI's own addresses, Azure's, and those of everybody who is compatible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from llmgate import AzureOpenAI, ConfigError, Gateway, OpenAI, OpenAICompatible
from llmgate.testing import ScriptedServer, chat, embeddings, http_response, models, stream

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.always(chat("hello"))
        yield server


def reached(server: ScriptedServer, **options: Any) -> list[tuple[str, str, str]]:
    """Where chat, a stream, embed, models and a request of a provider go."""
    provider = AzureOpenAI(**{"api_key": KEY, "base_url": server.origin} | options)
    server.answer(stream(["a"]), path="/chat/completions")
    server.always(embeddings([[1.0]]), path="/embeddings")
    server.always(models(["a"]), path="/models")
    server.always(http_response(200, {}), path="/moderations")
    with provider:
        list(provider.stream("my gpt/4", "hi"))
        provider.embed("vectors", "hi")
        provider.models()
        provider.request("POST", "/moderations?x=1", json={})
    assert {KEY} == {request.headers["api-key"] for request in server.requests}
    assert not [request for request in server.requests if "authorization" in request.headers]
    return [(request.method, request.path, request.query) for request in server.requests]


class TestAzure:
    def test_the_paths_of_v1(self, server: ScriptedServer) -> None:
        """
        Without a version the v1 paths are used; the deployment is the model in the body.
        """
        assert [
            ("POST", "/openai/v1/chat/completions", ""),
            ("POST", "/openai/v1/embeddings", ""),
            ("GET", "/openai/v1/models", ""),
            ("POST", "/openai/v1/moderations", "x=1"),
        ] == reached(server)
        assert "my gpt/4" == server.requests[0].json()["model"]

    def test_the_versioned_paths(self, server: ScriptedServer) -> None:
        """
        With a version the deployment stands in the path, escaped, and the version in the query.
        """
        assert [
            ("POST", "/openai/deployments/my%20gpt%2F4/chat/completions", "api-version=2024-10-21"),
            ("POST", "/openai/deployments/vectors/embeddings", "api-version=2024-10-21"),
            ("GET", "/openai/models", "api-version=2024-10-21"),
            ("POST", "/openai/moderations", "x=1&api-version=2024-10-21"),
        ] == reached(server, api_version="2024-10-21")

    def test_a_path_of_ones_own(self, server: ScriptedServer) -> None:
        """
        Who writes a path writes the whole of it: the paths of Azure AI's models take the deployment in the body.
        """
        url = f"{server.origin}/models"
        assert ("POST", "/models/chat/completions", "api-version=2024-05-01-preview") == reached(
            server, base_url=url, api_version="2024-05-01-preview"
        )[0]
        assert "my gpt/4" == server.requests[0].json()["model"]

    def test_a_resource(self) -> None:
        """
        The resource's name is the host.
        """
        assert "https://mine.openai.azure.com/openai/v1" == AzureOpenAI(resource="mine", api_key=KEY).url()
        assert "https://openai-eu.openai.azure.com/openai/v1" == AzureOpenAI(resource="openai-eu", api_key=KEY).url()
        with pytest.raises(ConfigError, match="resource or base_url is missing"):
            AzureOpenAI(api_key=KEY).url()
        for wrong in ("evil.example/x", "a b", "a.b"):
            with pytest.raises(ValidationError):
                AzureOpenAI(resource=wrong, api_key=KEY)

    def test_a_key_of_the_environment(self) -> None:
        """
        The variable's key goes to Microsoft's hosts only.
        """
        environ = {"AZURE_OPENAI_API_KEY": KEY}

        def made(**options: Any) -> Gateway:
            return Gateway({"providers": {"azure": options}}, environ=environ)

        made(resource="mine")
        made(base_url="https://mine.services.ai.azure.com/models", api_version="2024-05-01-preview")
        for url in (
            "https://proxy.example/v1",
            "https://mine.openai.azure.com.evil.example",
            "https://openai.azure.com.x",
        ):
            with pytest.raises(ConfigError, match="AZURE_OPENAI_API_KEY is not used"):
                made(base_url=url)

    def test_in_a_configuration(self) -> None:
        """
        It goes by several names there.
        """
        for kind in ("azure", "azure-openai", "azure_openai"):
            config = {
                "providers": {"mine": {"kind": kind, "resource": "r", "api_key": KEY}},
                "routes": {"fast": ["mine/gpt"]},
            }
            assert (
                "https://r.openai.azure.com:443" == Gateway(config)._pipeline.candidates["mine/gpt"].deployment.origin
            )


class TestCompatible:
    def test_a_vendor(self) -> None:
        """
        A vendor of the catalog, or its alias, brings its address and name; its base_url may be another one.
        """
        grok = OpenAICompatible(vendor="grok", api_key=KEY)
        assert ("xai", "https://api.x.ai:443", "xai", "x-ai") == (
            grok.vendor,
            grok.origin(),
            grok.label(),
            grok.price_id(),
        )
        assert (
            "https://mirror.example:443"
            == OpenAICompatible(vendor="groq", base_url="https://mirror.example/v1", api_key=KEY).origin()
        )

    @pytest.mark.parametrize("vendor", ["nobody", "anthropic"])
    def test_a_vendor_that_is_none(self, vendor: str) -> None:
        """
        An unknown vendor, or one of another language, is refused with the known ones.
        """
        with pytest.raises(ValidationError, match=r"there is no vendor .*; known are openai, azure"):
            OpenAICompatible(vendor=vendor)

    def test_needs_an_address(self) -> None:
        """
        Without a vendor and without an address there is nowhere to go.
        """
        with pytest.raises(ConfigError, match="base_url is missing"):
            OpenAICompatible().origin()

    def test_a_local_server_needs_nothing(self) -> None:
        """
        Servers on this machine have their usual address and no key; a key that is given is sent.
        """
        assert ["http://127.0.0.1:11434", "http://127.0.0.1:8000"] == [
            OpenAICompatible(vendor=vendor).origin() for vendor in ("ollama", "vllm")
        ]
        assert [[""], 1] == [
            OpenAICompatible(vendor="vllm").credentials(),
            len(OpenAICompatible(vendor="vllm", api_key="x").credentials()),
        ]

    def test_from_a_configuration(self, server: ScriptedServer) -> None:
        """
        A compatible server is a section with its address, and its dialect's quirks are its row's.
        """
        config = {"providers": {"mistral": {"base_url": server.base_url, "api_key": KEY}}}
        server.answer(chat("hello"))
        with Gateway(config) as gateway:
            gateway.chat("mistral/small", "hi", max_completion_tokens=7)
        assert {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 7} == server.requests[
            0
        ].json()


def test_openai_itself() -> None:
    """
    OpenAI is where it always was.
    """
    assert ("https://api.openai.com/v1", "openai", "openai") == (
        OpenAI(api_key=KEY).url(), OpenAI(api_key=KEY).label(), OpenAI(api_key=KEY).price_id(),
    )  # fmt: skip
