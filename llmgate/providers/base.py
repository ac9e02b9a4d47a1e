"""What a provider is: the last handler, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from ..errors import BadRequest
from ..policies.timers import DEFAULT, Timers
from ..runtime.asynchronous import AsyncioRuntime
from ..runtime.blocking import BlockingRuntime
from ..runtime.edge import AsyncFace, Door, Face, discovered
from ..runtime.http import HTTPOptions, engine_maker
from ..types.call import Call, Handler
from ..types.deployment import CAPABILITIES, Deployment, Price
from ..types.reply import Reply
from ..types.response import Models

__all__ = ["ModelInfo", "Provider", "timers_of"]


class ModelInfo(BaseModel):
    """
    What the configuration says about one model of a provider. What it leaves open is looked up, or unknown.

    Prices are US dollars for a million tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    capabilities: frozenset[str] | None = Field(
        None, description=f"what it can do: {', '.join(sorted(CAPABILITIES))}; without a verb among them, chat is meant"
    )
    context_window: int | None = Field(None, gt=0, description="tokens it can read and write together")
    price: Price | None = Field(None, description="US dollars for a million tokens of each sort")

    @field_validator("capabilities")
    @classmethod
    def _known(cls, capabilities: frozenset[str] | None) -> frozenset[str] | None:
        if capabilities is None:
            return None
        unknown = capabilities - CAPABILITIES
        if unknown:
            raise ValueError(f"{min(unknown)!r} is no capability; there are {', '.join(sorted(CAPABILITIES))}")
        if not capabilities & {"chat", "complete", "embed"}:
            capabilities |= {"chat"}
        # Whoever chats, streams: an upstream that cannot is not known.
        return capabilities | {"stream"} if capabilities & {"chat", "complete"} else capabilities


class Provider(BaseModel, Face):
    """
    A place that answers. Use it in a gateway, or by itself: it has the gateway's verbs, without the middleware.

    Attributes:
        name: Its name in a gateway; by default the kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    kind: ClassVar[str] = ""
    capabilities: ClassVar[frozenset[str] | None] = None

    name: str = Field("", description="name in the gateway; by default the kind")
    models_info: dict[str, ModelInfo] = Field(
        default_factory=dict, alias="models", description="what is known about single models"
    )
    region: str = Field("", description="where the data goes; routes may insist on one")

    _lone: Door | None = PrivateAttr(None)

    def label(self) -> str:
        """The name it goes by."""
        return self.name or self.kind

    def credentials(self) -> list[str]:
        """The scopes of its keys; one empty scope if it needs none. Each is a deployment of its own."""
        return [""]

    def origin(self) -> str:
        """Where it is, `scheme://host:port`, or empty if there is no network."""
        return ""

    def bind(self, model: str, key: int = 0) -> Handler:
        """A handler that asks this provider for this model with this key."""
        raise NotImplementedError(f"{type(self).__name__} has no bind()")

    def price_id(self) -> str:
        """The provider's name in public price lists."""
        return self.kind

    def deployment(self, model: str, key: int = 0, **about: Any) -> Deployment:
        """What is known about one model behind one key."""
        info = self.models_info.get(model, ModelInfo())
        name = f"{self.label()}/{model}" if model else self.label()
        facts: dict[str, Any] = {
            "name": name if key == 0 else f"{name}#{key + 1}",
            "provider": self.label(),
            "model": model,
            "origin": self.origin(),
            "credential": self.credentials()[key],
            "capabilities": self.capabilities if info.capabilities is None else info.capabilities,
            "context_window": info.context_window,
            "region": self.region,
            "price": info.price,
        }
        return Deployment(**facts | about)

    # By itself: the same verbs, without a gateway.

    @property
    def _door(self) -> Door:  # type: ignore[override]
        if self._lone is None:
            self._lone = Door(self._alone, self._blocking(), self._asyncio())
        return self._lone

    @property
    def aio(self) -> AsyncFace:
        """The verbs for asyncio."""
        return AsyncFace(self._door)

    def models(self) -> Models:
        """What it offers."""
        from ..runtime.drive import drive

        return drive(discovered(self._door, self._door.blocking, [self.label()]))

    def http_options(self) -> HTTPOptions:
        """How it makes connections when it stands alone."""
        return HTTPOptions()

    def _blocking(self) -> BlockingRuntime:
        return BlockingRuntime(engine_maker(self.http_options(), "blocking"))

    def _asyncio(self) -> AsyncioRuntime:
        return AsyncioRuntime(engine_maker(self.http_options(), "asyncio"))

    async def _alone(self, call: Call) -> Reply:
        model = "" if call.request.verb in ("models", "request") else call.route
        call.deployment = self.deployment(model)
        call.request = call.request.to(model)
        return await self.bind(model)(call)

    def close(self) -> None:
        """Close the connections of a provider that was used by itself."""
        if self._lone is not None:
            self._lone.blocking.close()  # type: ignore[attr-defined]
            self._lone.asyncio.close_from_thread()  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def timers_of(call: Call) -> Timers:
    """The call's clocks; the defaults if no middleware set any."""
    timers = call.timers
    if timers is None:
        timers = Timers(DEFAULT, call.runtime.now(), call.deadline, call.request.stream)
    return timers


def refuse_verb(provider: str, verb: str, able: Mapping[str, Any] | frozenset[str]) -> BadRequest:
    """The error for a verb that the provider does not have."""
    return BadRequest(f"{provider} cannot {verb!r}; it can {', '.join(sorted(able)) or 'nothing'}")


