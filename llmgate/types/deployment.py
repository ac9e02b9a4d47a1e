"""One place a request can go: a provider, a model, a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .response import Answer

__all__ = ["Deployment", "Price", "ProviderCapability"]


class ProviderCapability(StrEnum):
    """
    What a provider, or one of its models, may be able to do. A request needs some of it.

    The values are what stands in configurations; the names are understood there, too.
    """

    CHAT = "chat"
    TEXT_COMPLETION = "complete"
    EMBEDDINGS = "embed"
    MODEL_DISCOVERY = "models"
    STREAMING = "stream"
    TOOL_CALLING = "tools"
    VISION = "vision"
    AUDIO = "audio"
    STRUCTURED_OUTPUT = "json_schema"
    REASONING = "reasoning"
    IMAGE_GENERATION = "image"
    VIDEO_GENERATION = "video"
    TRANSCRIPTION = "transcription"
    SPEECH = "speech"
    RERANK = "rerank"
    MODERATION = "moderation"
    TOKEN_COUNTING = "count_tokens"  # noqa: S105 -- no password

    @classmethod
    def _missing_(cls, value: object) -> ProviderCapability | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Price:
    """
    US dollars for a million tokens of each sort. None means unknown, and an unknown part makes the whole unknown
    as soon as tokens of that sort were used.

    Attributes:
        input: Tokens read that no other sort covers.
        output: Tokens written, reasoning included unless `reasoning` is given.
        cache_read: Input that came out of the prompt cache; None: as `input`.
        cache_write: Input written into the prompt cache; None: as `input`.
        reasoning: Output that was thought; None: as `output`.
        input_audio: Input that was audio; None: as `input`.
        output_audio: Output that was audio; None: as `output`.
        request: Dollars for the request itself.
        input_image: Input that was images; None: as `input`.
        output_image: Output that was images; None: as `output`.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    input_audio: Decimal | None = None
    output_audio: Decimal | None = None
    request: Decimal = Decimal(0)
    input_image: Decimal | None = None
    output_image: Decimal | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """
    What is known about one place before anybody was asked.

    Attributes:
        name: `provider/model`, with `#2` and so on when one provider has several keys. Unique in a gateway.
        provider: Name of the provider in the configuration.
        model: The upstream's name of the model.
        origin: `scheme://host:port`, or empty if there is no network.
        credential: Scope of the key (`Credential.scope`); deployments that share it share its fate.
        capabilities: What it can do; None if nobody said, then everything is tried.
        context_window: Tokens the model can read and write together, None if unknown.
        weight: Share of the traffic under `weighted`.
        region: Where the data goes; a route that insists on a region takes no deployment of another.
        price: Price from the configuration; None: look it up.
        priced: Computes an answer's cost.
        generation: Tells providers apart that had the name one after the other; an answer of one is none of the other.
        lenient: Whether what it has no words for is always left out; an answer to that is no answer to others.
    """

    name: str
    provider: str
    model: str
    origin: str = ""
    credential: str = ""
    capabilities: frozenset[str] | None = None
    context_window: int | None = None
    weight: float = 1.0
    region: str = ""
    price: Price | None = None
    priced: Callable[[Answer], Decimal | None] | None = field(default=None, repr=False)
    generation: int = 0
    lenient: bool = False
