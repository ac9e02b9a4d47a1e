"""Upstreams as rows of data: name, address, key variable, quirks; the source and the day it was checked.

An upstream that is compatible with OpenAI needs nothing but a row. A fact that is not in the row is OpenAI's default.

What an upstream can do is what its documentation offers at the paths where we ask for it, and what was recorded. What a
chat may hold (tools, images, schemas) depends on the model, so it is denied to nobody who does not rule it out himself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dialects.base import Quirks
from ..types.deployment import ProviderCapability as Able

__all__ = ["ROWS", "Row", "row_named"]

TEXT = frozenset({Able.CHAT, Able.STREAMING})
CHAT = TEXT | {Able.TOOL_CALLING, Able.VISION, Able.STRUCTURED_OUTPUT, Able.REASONING, Able.MODEL_DISCOVERY}
SERVER = CHAT | {Able.TEXT_COMPLETION, Able.EMBEDDINGS}
"""What is usual for chats; and for who serves models of all sorts."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One upstream.

    Attributes:
        name: Its kind in the configuration.
        base_url: Where it is; empty if every user has an address of their own.
        key_env: Environment variables that may hold the key, the usual one first; none: no key is needed.
        dialect: Name of the wire format.
        quirks: Where it departs from that format.
        header: Header of the key, in lower case.
        prefix: What stands before the key.
        capabilities: What it can be asked for; its single models may be able to do less. None: nobody knows, everything
            is tried.
        price_id: Its name in the public price list, if it is there.
        aliases: Other names of it.
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
    capabilities: frozenset[Able] | None = None
    price_id: str = ""
    aliases: tuple[str, ...] = ()
    source: str = ""
    checked: str = ""


# Addresses and key variables are those of the documentation named; they were compared with recorded requests, where
# there are any. Where a quirk says nothing about `stream_options`, recorded requests with it were answered.
ROWS: tuple[Row, ...] = (
    Row(
        "openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",), price_id="openai",
        # The Responses API counts the tokens of a chat, whichever API the chat itself goes to.
        # It refuses the marks of another's prompt cache.
        quirks=Quirks(paths={"count_tokens": "/responses/input_tokens"}, cache_marks=False),
        capabilities=SERVER
        | {Able.AUDIO, Able.IMAGE_GENERATION, Able.VIDEO_GENERATION, Able.TRANSCRIPTION, Able.SPEECH}
        | {Able.MODERATION, Able.TOKEN_COUNTING},
        source="https://platform.openai.com/docs/api-reference", checked="2026-11-20",
    ),
    Row(
        "azure", "", ("AZURE_OPENAI_API_KEY",), header="api-key", prefix="", price_id="azure",
        aliases=("azure-openai", "azure_openai"), quirks=Quirks(cache_marks=False),
        capabilities=SERVER
        | {Able.AUDIO, Able.IMAGE_GENERATION, Able.VIDEO_GENERATION, Able.TRANSCRIPTION, Able.SPEECH},
        source="https://learn.microsoft.com/azure/ai-services/openai/reference", checked="2026-11-20",
    ),
    Row(
        "xai", "https://api.x.ai/v1", ("XAI_API_KEY",), price_id="x-ai", aliases=("grok",),
        # In 37 of 37 recorded answers the completion tokens leave the reasoning out.
        # A video lies where its job says, at an address that cannot be told beforehand.
        quirks=Quirks(
            reasoning_in_output=False, paths={"video": "/videos/generations", "video_content": "{url}"},
        ),
        capabilities=CHAT | {Able.IMAGE_GENERATION, Able.VIDEO_GENERATION},
        source="https://docs.x.ai/api-reference", checked="2026-11-21",
    ),
    Row(
        "groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), price_id="groq",
        capabilities=CHAT | {Able.TRANSCRIPTION, Able.SPEECH},
        source="https://console.groq.com/docs/openai", checked="2026-11-20",
    ),
    Row(
        "mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), price_id="mistral",
        # The usage stands in the last chunk anyway, in 102 of 102 recorded streams.
        quirks=Quirks(stream_usage=False, max_tokens="max_tokens"),
        capabilities=CHAT | {Able.EMBEDDINGS, Able.AUDIO, Able.TRANSCRIPTION, Able.SPEECH, Able.MODERATION},
        source="https://docs.mistral.ai/api", checked="2026-11-20",
    ),
    Row(
        "deepseek", "https://api.deepseek.com", ("DEEPSEEK_API_KEY",), price_id="deepseek",
        quirks=Quirks(max_tokens="max_tokens"),
        # Its JSON output knows no schema, and its text completions stand below another address, `/beta`.
        capabilities=CHAT - {Able.STRUCTURED_OUTPUT},
        source="https://api-docs.deepseek.com", checked="2026-11-21",
    ),
    Row(
        "openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), price_id="openrouter",
        capabilities=SERVER
        | {Able.AUDIO, Able.TRANSCRIPTION, Able.SPEECH, Able.RERANK, Able.VIDEO_GENERATION},
        source="https://openrouter.ai/docs/api-reference/overview", checked="2026-11-21",
    ),
    Row(
        "perplexity", "https://api.perplexity.ai", ("PERPLEXITY_API_KEY", "PPLX_API_KEY"), price_id="perplexity",
        # The usage stands in every chunk; what is younger than the chat stands below /v1.
        quirks=Quirks(stream_usage=False, max_tokens="max_tokens", paths={"embed": "/v1/embeddings"}),
        # Its models search and call no tools of the caller's; there is no list of them.
        capabilities=TEXT | {Able.VISION, Able.STRUCTURED_OUTPUT, Able.REASONING, Able.EMBEDDINGS},
        source="https://docs.perplexity.ai/docs/sonar/features", checked="2026-11-21",
    ),
    Row(
        "together", "https://api.together.ai/v1", ("TOGETHER_API_KEY",), price_id="together",
        quirks=Quirks(max_tokens="max_tokens"),
        # Its videos are made below /v2.
        capabilities=SERVER
        | {Able.AUDIO, Able.IMAGE_GENERATION, Able.TRANSCRIPTION, Able.SPEECH, Able.RERANK},
        source="https://docs.together.ai/docs/inference/openai-compatibility", checked="2026-11-20",
    ),
    Row(
        "fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",), price_id="fireworks",
        # Its transcriptions have a host of their own.
        capabilities=SERVER | {Able.RERANK},
        source="https://docs.fireworks.ai/tools-sdks/openai-compatibility", checked="2026-11-20",
    ),
    Row(
        "blackbox", "https://api.blackbox.ai", ("BLACKBOX_API_KEY",),
        # Its `response_format` knows no schema; images and videos are chats there; there is no list of models.
        capabilities=TEXT | {Able.TOOL_CALLING, Able.VISION, Able.REASONING},
        source="https://docs.blackbox.ai/api-reference/requests", checked="2026-11-21",
    ),
    Row(
        "cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",), price_id="cerebras",
        capabilities=CHAT | {Able.TEXT_COMPLETION},
        source="https://inference-docs.cerebras.ai/resources/openai", checked="2026-11-20",
    ),
    Row(
        "moonshot", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",), price_id="moonshotai", aliases=("kimi",),
        capabilities=CHAT,
        source="https://platform.moonshot.ai/docs/api/chat", checked="2026-11-21",
    ),
    Row(
        "zai", "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY",), price_id="zai", aliases=("z.ai", "z-ai"),
        quirks=Quirks(max_tokens="max_tokens"),
        # Its JSON mode knows no schema, its videos are asked after elsewhere, and there is no list of models.
        capabilities=TEXT
        | {Able.TOOL_CALLING, Able.VISION, Able.REASONING, Able.IMAGE_GENERATION, Able.TRANSCRIPTION},
        source="https://docs.z.ai/api-reference", checked="2026-11-21",
    ),
    Row(
        "venice", "https://api.venice.ai/api/v1", ("VENICE_API_KEY",),
        # Its videos stand in a queue of their own kind.
        capabilities=CHAT
        | {Able.EMBEDDINGS, Able.AUDIO, Able.IMAGE_GENERATION, Able.TRANSCRIPTION, Able.SPEECH},
        source="https://docs.venice.ai/api-reference", checked="2026-11-21",
    ),
    Row(
        # The international address; whoever has an account elsewhere, or a workspace, writes its own as base_url.
        "alibaba", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", ("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
        aliases=("dashscope", "qwen"),
        capabilities=SERVER | {Able.AUDIO},
        source="https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
        checked="2026-11-21",
    ),
    Row(
        "doubleword", "https://api.doubleword.ai/v1", ("DOUBLEWORD_API_KEY",), price_id="doubleword",
        capabilities=CHAT | {Able.EMBEDDINGS},
        source="https://docs.doubleword.ai/inference-api", checked="2026-11-21",
    ),
    Row(
        "huggingface", "https://router.huggingface.co/v1", ("HF_TOKEN",), aliases=("hugging-face", "hf"),
        capabilities=CHAT,
        source="https://huggingface.co/docs/inference-providers", checked="2026-11-20",
    ),
    Row(
        # GitHub documents no such API. The token lives for minutes, so give a function as api_key; and the service asks
        # for headers that name an editor, which are the caller's to give.
        "copilot", "https://api.githubcopilot.com", ("GITHUB_COPILOT_API_KEY",), aliases=("github-copilot",),
        capabilities=CHAT | {Able.EMBEDDINGS},
        source="https://docs.litellm.ai/docs/providers/github_copilot", checked="2026-11-21",
    ),
    Row(
        "ollama", "http://127.0.0.1:11434/v1",
        capabilities=SERVER | {Able.IMAGE_GENERATION},
        source="https://docs.ollama.com/api/openai-compatibility", checked="2026-11-20",
    ),
    Row(
        "vllm", "http://127.0.0.1:8000/v1",
        capabilities=SERVER | {Able.AUDIO, Able.TRANSCRIPTION, Able.RERANK},
        source="https://docs.vllm.ai/en/stable/serving/online_serving.html", checked="2026-11-21",
    ),
    Row(
        "llamacpp", "http://127.0.0.1:8080/v1", aliases=("llama.cpp", "llama-cpp"),
        capabilities=SERVER | {Able.AUDIO, Able.RERANK},
        source="https://github.com/ggml-org/llama.cpp/tree/master/tools/server", checked="2026-11-20",
    ),
    Row(
        "mistralrs", "http://127.0.0.1:1234/v1", aliases=("mistral.rs", "mistral-rs"),
        capabilities=SERVER | {Able.AUDIO, Able.IMAGE_GENERATION, Able.SPEECH},
        source="https://ericlbuehler.github.io/mistral.rs/guides/serve/openai-compatible-apis/", checked="2026-11-21",
    ),
    Row(
        "gpustack", "",
        capabilities=SERVER
        | {Able.AUDIO, Able.IMAGE_GENERATION, Able.TRANSCRIPTION, Able.SPEECH, Able.RERANK},
        source="https://docs.gpustack.ai/latest/integrations/openai-compatible-apis", checked="2026-11-21",
    ),
    Row(
        "openai-compatible", "", aliases=("openai_compatible",),
        source="https://platform.openai.com/docs/api-reference", checked="2026-11-20",
    ),
    Row(
        "anthropic", "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), dialect="anthropic_messages",
        header="x-api-key", prefix="", price_id="anthropic", capabilities=CHAT | {Able.TOKEN_COUNTING},
        source="https://docs.claude.com/en/api/overview", checked="2026-11-20",
    ),
    Row(
        "gemini", "https://generativelanguage.googleapis.com/v1beta", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), dialect="gemini",
        header="x-goog-api-key", prefix="", price_id="google", aliases=("google",),
        capabilities=CHAT
        | {Able.EMBEDDINGS, Able.AUDIO, Able.IMAGE_GENERATION, Able.VIDEO_GENERATION, Able.TOKEN_COUNTING},
        source="https://ai.google.dev/api", checked="2026-11-20",
    ),
    Row(
        "vertex", "", dialect="gemini", price_id="google", aliases=("vertexai", "vertex-ai"),
        quirks=Quirks(paths={"embed": "/models/{model}:predict"}),
        capabilities=(CHAT - {Able.MODEL_DISCOVERY})
        | {Able.EMBEDDINGS, Able.AUDIO, Able.IMAGE_GENERATION, Able.VIDEO_GENERATION, Able.TOKEN_COUNTING},
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference", checked="2026-11-20",
    ),
    Row(
        "bedrock", "", ("AWS_BEARER_TOKEN_BEDROCK",), dialect="bedrock", price_id="aws",
        aliases=("amazon-bedrock", "aws-bedrock"),
        # Text completions are for those models alone that are invoked.
        capabilities=(SERVER - {Able.MODEL_DISCOVERY}) | {Able.AUDIO, Able.TOKEN_COUNTING},
        source="https://docs.aws.amazon.com/bedrock/latest/userguide/inference-api.html", checked="2026-11-20",
    ),
    Row(
        # Its own API, where the row `ollama` is the one that is compatible with OpenAI's.
        "ollama-native", "http://127.0.0.1:11434", dialect="ollama", aliases=("ollama_native",), capabilities=SERVER,
        source="https://docs.ollama.com/api", checked="2026-11-20",
    ),
    Row(
        "cohere", "https://api.cohere.com", ("COHERE_API_KEY", "CO_API_KEY"), dialect="cohere",
        price_id="cohere", capabilities=CHAT | {Able.EMBEDDINGS, Able.RERANK, Able.TRANSCRIPTION},
        source="https://docs.cohere.com/reference/about", checked="2026-11-20",
    ),
)  # fmt: skip


def row_named(name: str) -> Row | None:
    """The row of this name or alias."""
    return next((row for row in ROWS if name == row.name or name in row.aliases), None)
