"""Compatible upstreams as rows of data: name, address, key variable, quirks; the source and the day it was checked.

Adding one is adding a row. A fact that is not in the row is OpenAI's default.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dialects.base import Quirks

__all__ = ["ROWS", "Row"]

CHAT = frozenset({"chat", "stream", "tools", "vision", "json_schema", "reasoning", "models"})


@dataclass(frozen=True, slots=True)
class Row:
    """
    One upstream.

    Attributes:
        name: Its kind in the configuration.
        base_url: Where it is; empty if every user has an address of their own.
        key_env: Environment variables that may hold the key, the usual one first; none: no key is needed.
        dialect: Name of the wire format.
        header: Header of the key, in lower case.
        prefix: What stands before the key.
        capabilities: What its models can do; None: nobody knows, everything is tried.
        price_id: Its name in the public price list, if it is there.
        source: Where this was read.
        checked: The day it was read.
    """

    name: str
    base_url: str
    key_env: tuple[str, ...] = ()
    dialect: str = "openai_chat"
    quirks: Quirks = field(default_factory=Quirks)
    header: str = "authorization"
    prefix: str = "Bearer "
    capabilities: frozenset[str] | None = None
    price_id: str = ""
    aliases: tuple[str, ...] = ()
    source: str = ""
    checked: str = ""


ROWS: tuple[Row, ...] = (
    Row(
        "openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",),
        price_id="openai", source="https://platform.openai.com/docs/api-reference", checked="2026-11-20",
    ),
    Row(
        "azure", "", ("AZURE_OPENAI_API_KEY",), header="api-key", prefix="", price_id="azure", aliases=("azure-openai", "azure_openai"),
        source="https://learn.microsoft.com/azure/ai-services/openai/reference", checked="2026-11-20",
    ),
    Row(
        "xai", "https://api.x.ai/v1", ("XAI_API_KEY",), price_id="x-ai", aliases=("grok",),
        quirks=Quirks(reasoning_in_output=False),
        source="https://docs.x.ai/docs/api-reference", checked="2026-11-20",
    ),
    Row(
        "groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), price_id="groq",
        source="https://console.groq.com/docs/openai", checked="2026-11-20",
    ),
    Row(
        "mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), price_id="mistral",
        quirks=Quirks(stream_usage=False, max_tokens="max_tokens"),
        source="https://docs.mistral.ai/api", checked="2026-11-20",
    ),
    Row(
        "deepseek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), price_id="deepseek",
        quirks=Quirks(max_tokens="max_tokens"),
        source="https://api-docs.deepseek.com", checked="2026-11-20",
    ),
    Row(
        "openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), price_id="openrouter",
        source="https://openrouter.ai/docs/api-reference/overview", checked="2026-11-20",
    ),
    Row(
        "perplexity", "https://api.perplexity.ai", ("PERPLEXITY_API_KEY", "PPLX_API_KEY"), price_id="perplexity",
        quirks=Quirks(stream_usage=False, max_tokens="max_tokens"),
        source="https://docs.perplexity.ai/api-reference", checked="2026-11-20",
    ),
    Row(
        "together", "https://api.together.xyz/v1", ("TOGETHER_API_KEY",), price_id="together",
        quirks=Quirks(max_tokens="max_tokens"),
        source="https://docs.together.ai/docs/openai-api-compatibility", checked="2026-11-20",
    ),
    Row(
        "fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",), price_id="fireworks",
        source="https://docs.fireworks.ai/tools-sdks/openai-compatibility", checked="2026-11-20",
    ),
    Row(
        "blackbox", "https://api.blackbox.ai", ("BLACKBOX_API_KEY",),
        source="https://docs.blackbox.ai/api-reference/introduction", checked="2026-11-20",
    ),
    Row(
        "cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",), price_id="cerebras",
        source="https://inference-docs.cerebras.ai/resources/openai", checked="2026-11-20",
    ),
    Row(
        "moonshot", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",), price_id="moonshotai",
        source="https://platform.moonshot.ai/docs/api/chat", checked="2026-11-20",
    ),
    Row(
        "huggingface", "https://router.huggingface.co/v1", ("HF_TOKEN",),
        source="https://huggingface.co/docs/inference-providers", checked="2026-11-20",
    ),
    Row(
        "ollama", "http://127.0.0.1:11434/v1",
        source="https://docs.ollama.com/api/openai-compatibility", checked="2026-11-20",
    ),
    Row(
        "vllm", "http://127.0.0.1:8000/v1",
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html", checked="2026-11-20",
    ),
    Row(
        "llamacpp", "http://127.0.0.1:8080/v1",
        source="https://github.com/ggml-org/llama.cpp/tree/master/tools/server", checked="2026-11-20",
    ),
    Row(
        "openai-compatible", "", aliases=("openai_compatible",),
        source="https://platform.openai.com/docs/api-reference", checked="2026-11-20",
    ),
    Row(
        "anthropic", "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), dialect="anthropic_messages",
        header="x-api-key", prefix="", price_id="anthropic", capabilities=CHAT,
        source="https://docs.claude.com/en/api/overview", checked="2026-11-20",
    ),
)  # fmt: skip
