"""What a provider is: the last handler, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from ..errors import BadRequest
from ..policies.routing import FEATURES
from ..policies.timers import DEFAULT, Timers
from ..runtime.drive import drive
from ..runtime.edge import Door, Face, discovered
from ..types.call import Call, Handler
from ..types.deployment import Deployment, Price, ProviderCapability as Able
from ..types.response import Models, RawResponse
from .alone import Alone, AsyncProvider

ALONE = "alone"

__all__ = ["ModelInfo", "Provider", "refuse_verb", "timers_of"]


class ModelInfo(BaseModel):
    """
    What the configuration says about one model of a provider. What it leaves open is looked up, or unknown.

    Prices are US dollars for a million tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    capabilities: frozenset[Able] | None = Field(
        default=None,
        description=f"what it can do: {', '.join(sorted(Able))}; without a verb among them, chat is meant",
    )
    context_window: int | None = Field(default=None, gt=0, description="tokens it can read and write together")
    price: Price | None = Field(default=None, description="US dollars for a million tokens of each sort")

    @field_validator("capabilities")
    @classmethod
    def _whole(cls, capabilities: frozenset[Able] | None) -> frozenset[Able] | None:
        if capabilities is None:
            return None
        if capabilities <= FEATURES:
            capabilities |= {Able.CHAT}
        # Whoever chats, streams: an upstream that cannot is not known.
        return capabilities | {Able.STREAMING} if capabilities & {Able.CHAT, Able.TEXT_COMPLETION} else capabilities


if TYPE_CHECKING:
    # To a type checker a mapping is as good as a `ModelInfo`, as it is in a configuration.
    Infos = dict[str, ModelInfo] | dict[str, dict[str, Any]]
else:
    Infos = dict[str, ModelInfo]


class Provider(BaseModel, Face):
    """
    A place that answers. Use it in a gateway, or by itself: it has the gateway's verbs, without the middleware.

    To write one, give it a `kind` and a `bind`.

    Attributes:
        name: Its name in a gateway; by default the kind.
    """

    # Without the input: an error about one option must not show another one, which may be the key.
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    kind: ClassVar[str] = ""

    name: str = Field(default="", description="name in the gateway; by default the kind")
    models_info: Infos = Field(default_factory=dict, alias="models", description="what is known about single models")
    region: str = Field(default="", description="where the data goes; routes may insist on a region")

    _lone: dict[str, Alone] = PrivateAttr(default_factory=dict)

    if not TYPE_CHECKING:

        def __init__(self, /, **options: Any) -> None:
            try:
                super().__init__(**options)
                return
            except ValidationError as error:
                problem = error.with_traceback(None)
            # Neither this frame nor pydantic's is to hold the options when the error is shown with its frames.
            options.clear()
            raise problem

        # To pydantic it is its own constructor all the same, so that a configuration's context reaches the fields.
        __init__.__pydantic_base_init__ = True

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._lone = {}  # what a provider has alone is its own
        return copied

    def label(self) -> str:
        """The name it goes by."""
        return self.name or self.kind

    def credentials(self) -> list[str]:
        """The scopes of its keys; one empty scope if it needs none. Each is a deployment of its own."""
        return [""]

    def origin(self) -> str:
        """Where it is, `scheme://host:port`, or empty if there is no network."""
        return ""

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        """What a model of it can do, as far as the configuration says nothing about that one; None: nobody knows."""
        return None

    def price_id(self) -> str:
        """The provider's name in public price lists."""
        return self.kind

    def bind(self, model: str, key: int = 0) -> Handler:
        """A handler that asks this provider for this model with this key."""
        raise NotImplementedError(f"{type(self).__name__} has no bind()")

    def deployment(self, model: str, key: int = 0) -> Deployment:
        """What is known about one model behind one key."""
        info = cast("dict[str, ModelInfo]", self.models_info).get(model, ModelInfo())
        name = f"{self.label()}/{model}" if model else self.label()
        return Deployment(
            name if key == 0 else f"{name}#{key + 1}",
            self.label(),
            model,
            origin=self.origin(),
            credential=self.credentials()[key],
            capabilities=self.capabilities(model) if info.capabilities is None else info.capabilities,
            context_window=info.context_window,
            region=self.region,
            price=info.price,
        )

    # By itself: the same verbs, without a gateway.

    @property
    def _alone(self) -> Alone:
        # Of two threads that come first one throws away what has opened nothing yet.
        return self._lone.get(ALONE) or self._lone.setdefault(ALONE, Alone(self))

    @property
    def _door(self) -> Door:  # type: ignore[override]
        return self._alone.door

    @property
    def aio(self) -> AsyncProvider:
        """The verbs for asyncio."""
        return AsyncProvider(self._alone)

    def models(self) -> Models:
        """What it offers."""
        return drive(discovered(self._door, self._door.blocking, [self.label()]))

    def request(  # type: ignore[override]
        self, method: str, path: str, *, json: Any = None, **keywords: Any
    ) -> RawResponse:
        """
        Anything else it has; see `Gateway.request`.

        Args:
            method: HTTP method.
            path: Path below its base URL, query included.
            json: The body.
            **keywords: Options of the call, as for `chat`.
        """
        return Face.request(self, self.label(), method, path, json=json, **keywords)

    def close(self) -> None:
        """Close the connections of a provider that was used by itself."""
        for alone in self._lone.values():
            alone.close()

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
