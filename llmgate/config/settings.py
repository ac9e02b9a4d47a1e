"""What a configuration may say, as checked and frozen values.

Every section is the constructor of a public class, written sideways: `retry: {max_attempts: 3}` is
`Retry(max_attempts=3)`. A section that is absent is None: nobody said anything, and the gateway's defaults hold.
`Settings` checks and remembers; it builds nothing.

The forms that guides to such gateways print load as they stand (`short_forms.py`). `model_dump()` gives back what was
said, with keys masked; it loads again as the same settings, keys apart.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from ..middleware.attempts import Retry
from ..middleware.breaker import CircuitBreaker
from ..middleware.cache import Cache
from ..middleware.health import LoadBalance, Strategy
from ..middleware.limits import RateLimit
from ..middleware.single_flight import SingleFlight
from ..middleware.timeouts import Timeouts
from ..types.call import Options
from ..types.deployment import Price
from ..types.units import Duration, Money, Size, shown
from .expanding import expand
from .explaining import Finding, Location, explain_validation, refusal, suggestion
from .loading import load_file
from .sections import Providers
from .server import ServerSettings
from .short_forms import chain, listed, route, switch, target, used

__all__ = [
    "ANY_MODEL",
    "CallDefaults",
    "HTTPSettings",
    "PriceSettings",
    "RouteSettings",
    "Settings",
    "Target",
    "UserMiddlewareSettings",
    "settings_from",
    "settings_from_file",
]

ANY_MODEL = "*"
"""Stands for the model that the caller names, in a target `provider/*` and in a price."""


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Target(_Options):
    """
    One deployment of a route. `openai/gpt-5` alone is short for `{target: openai/gpt-5}`, and `openai` alone for
    `openai/*`: that provider, with the model the caller names.
    """

    target: str = Field(
        description="`provider/model`; the model may hold slashes of its own, `*` is the caller's model"
    )
    weight: float = Field(default=1.0, ge=0, description="share of the traffic under `weighted`, in any unit")
    requests_per_minute: int | None = Field(default=None, gt=0, description="what the upstream grants, over all routes")
    tokens_per_minute: int | None = Field(
        default=None, gt=0, description="what the upstream grants, read and written together"
    )
    max_concurrency: int | None = Field(default=None, gt=0, description="calls at a time")

    @property
    def provider(self) -> str:
        """The part before the first slash."""
        return self.target.partition("/")[0]

    @property
    def model(self) -> str:
        """Everything behind the first slash; `*` for the model the caller names."""
        return self.target.partition("/")[2]

    @model_validator(mode="after")
    def _names_both(self) -> Self:
        if not self.provider.strip() or not self.model.strip():
            raise refusal((("target",), self.target, f'"{self.target}" is no deployment; write provider/model'))
        return self

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.target if self.model_fields_set == {"target"} else handler(self)


_Target = Annotated[Target, BeforeValidator(target, json_schema_input_type=Target | str)]
_Targets = Annotated[
    tuple[_Target, ...], BeforeValidator(listed, json_schema_input_type=tuple[_Target, ...] | Target | str)
]


class RouteSettings(_Options):
    """Deployments that one name stands for. A list of targets, or a single one, is short for its `deployments`."""

    strategy: Strategy | None = Field(default=None, description="how one is chosen; none: as `load_balance` says")
    deployments: _Targets = Field(min_length=1, description="who may answer")
    fallback: _Targets = Field(default=(), description="who is asked, in order, when none of them could answer")
    region: str = Field(
        default="",
        description="where the data may go: `eu` stands for `eu-central-1`, too; a provider of another region is refused",
    )

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> Any:
        written = handler(self)
        return written["deployments"] if self.model_fields_set == {"deployments"} else written


class PriceSettings(_Options):
    """US dollars for a million tokens of each sort, in place of the public price list."""

    input: Money | None = Field(default=None, description="tokens read that no other sort covers")
    output: Money | None = Field(
        default=None, description="tokens written, reasoning included unless `reasoning` is given"
    )
    cache_read: Money | None = Field(default=None, description="input out of the prompt cache; none: as `input`")
    cache_write: Money | None = Field(default=None, description="input written into the prompt cache; none: as `input`")
    reasoning: Money | None = Field(default=None, description="output that was thought; none: as `output`")
    input_audio: Money | None = Field(default=None, description="input that was audio; none: as `input`")
    output_audio: Money | None = Field(default=None, description="output that was audio; none: as `output`")
    input_image: Money | None = Field(default=None, description="input that was images; none: as `input`")
    output_image: Money | None = Field(default=None, description="output that was images; none: as `output`")
    request: Money = Field(default=Decimal(0), description="dollars for the request itself")

    def price(self) -> Price:
        """The same as the value that computes costs."""
        return Price(**{name: getattr(self, name) for name in type(self).model_fields})


class HTTPSettings(_Options):
    """How connections to upstreams are made."""

    engine: Literal["auto", "httpx2", "aiohttp"] = Field(
        default="httpx2", description="aiohttp is faster and asyncio only; auto takes it where it is installed"
    )
    keepalive: Duration = Field(default=60.0, ge=0, description="how long an idle connection is kept")
    max_response: Size = Field(default=64 * 2**20, gt=0, description="largest answer, decoded")
    trust_env: bool = Field(
        default=False,
        description="whether HTTP_PROXY, SSL_CERT_FILE, .netrc and the like count; httpx2's client sends then, whatever the engine",
    )


class CallDefaults(_Options):
    """What holds for every call that does not say it itself."""

    tenant: str = Field(default="", description="on whose behalf")
    tags: dict[str, str] = Field(default_factory=dict, description="labels for telemetry and cost reports")
    fallback: bool = Field(
        default=True, description="whether another deployment may answer than the first that was chosen"
    )
    unsupported: Literal["error", "drop"] = Field(
        default="error",
        description="what becomes of what an upstream has no words for: an error that names it, or it is left out",
    )

    def options(self) -> Options:
        """The same as the value that goes with calls."""
        return Options(
            tenant=self.tenant, tags=dict(self.tags), fallback=self.fallback, unsupported=self.unsupported
        )  # fmt: skip


class UserMiddlewareSettings(_Options):
    """
    A middleware of your own: its entry-point name, or in Python the thing itself; alone it is short for `use`.

    Whatever else stands here goes to its constructor.
    """

    model_config = ConfigDict(extra="allow")

    use: Annotated[Any, WithJsonSchema({"type": "string"})] = Field(
        description="name among the entry points `llmgate.middleware`"
    )
    slot: Literal["outermost", "before_cache", "before_attempts", "each_attempt"] | None = Field(
        default=None, description="where it stands; none: where it says"
    )

    @property
    def options(self) -> dict[str, Any]:
        """What its constructor takes."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not (callable(getattr(self.use, "wrap", self.use)) or (isinstance(self.use, str) and self.use)):
            raise refusal((("use",), self.use, f"{shown(self.use)} is no middleware; write the name of an entry point"))
        return self


_Route = Annotated[RouteSettings, BeforeValidator(route, json_schema_input_type=RouteSettings | _Targets)]
_UserMiddleware = Annotated[
    UserMiddlewareSettings, BeforeValidator(used, json_schema_input_type=UserMiddlewareSettings | str)
]

_OnOff = bool | Literal["on", "off"] | None


class Settings(_Options):
    """
    A whole configuration.

    Raises:
        ValidationError: If it cannot be used. `settings_from` says the same as a `ConfigError`.
    """

    providers: Providers = Field(default_factory=dict, description="who can be asked, by a name of your choice")
    routes: dict[str, _Route] = Field(default_factory=dict, description="names that stand for deployments")
    retry: Annotated[Retry | None, BeforeValidator(switch, json_schema_input_type=Retry | _OnOff)] = Field(
        default=None, description="second attempts"
    )
    circuit_breaker: Annotated[
        CircuitBreaker | None, BeforeValidator(switch, json_schema_input_type=CircuitBreaker | _OnOff)
    ] = Field(default=None, description="rests for upstreams that keep failing")
    rate_limit: Annotated[
        tuple[RateLimit, ...],
        BeforeValidator(listed, json_schema_input_type=tuple[RateLimit | str, ...] | RateLimit | str),
    ] = Field(default=(), description="limits of your own: one, or several that all hold")
    cache: Annotated[Cache | None, BeforeValidator(switch, json_schema_input_type=Cache | _OnOff)] = Field(
        default=None, description="answers that are given again"
    )
    single_flight: Annotated[
        SingleFlight | None, BeforeValidator(switch, json_schema_input_type=SingleFlight | _OnOff)
    ] = Field(default=None, description="identical calls that share one request")
    timeouts: Timeouts | None = Field(default=None, description="how long to wait for what")
    load_balance: LoadBalance | None = Field(
        default=None, description="how routes choose, unless they say it themselves"
    )
    middleware: Annotated[
        tuple[_UserMiddleware, ...],
        BeforeValidator(listed, json_schema_input_type=tuple[_UserMiddleware, ...] | _UserMiddleware),
    ] = Field(default=(), description="more of your own, outermost first within a slot")
    prices: dict[str, PriceSettings] = Field(
        default_factory=dict, description="by `provider/model`, or `provider/*` for all its models"
    )
    http: HTTPSettings | None = Field(default=None, description="how connections are made")
    defaults: CallDefaults | None = Field(
        default=None, description="what holds for every call that does not say it itself"
    )
    server: ServerSettings | None = Field(
        default=None, description="where the gateway listens for other languages, and who may ask"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        # A section with nothing under it says nothing.
        return chain(
            {key: told for key, told in value.items() if told is not None} if isinstance(value, Mapping) else value
        )

    @model_validator(mode="after")
    def _names_agree(self, info: ValidationInfo) -> Self:
        """Whoever is named is there. Without any section of providers they come from elsewhere, and nobody knows."""
        known = {*self.providers, *(info.context or {}).get("providers", ())}
        if self.providers and (findings := [*self._unknown(known)]):
            raise refusal(*findings)
        return self

    def _unknown(self, known: Collection[str]) -> Iterator[Finding]:
        for place, name in self._named():
            provider = name.partition("/")[0]
            if provider not in known:
                yield place, name, f"there is no provider {shown(provider)}; {suggestion(provider, known)}"

    def _named(self) -> Iterator[tuple[Location, str]]:
        """Every place that names a provider or a deployment, and the name."""
        for name, told in self.routes.items():
            for group in ("deployments", "fallback"):
                for index, place in enumerate(getattr(told, group)):
                    yield ("routes", name, group, index, "target"), place.target
        for name in self.prices:
            yield ("prices", name), name
        for name in self.load_balance.weights if self.load_balance else ():
            yield ("load_balance", "weights", name), name

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """
        The configuration as it was said, in plain values with keys masked; objects become their names.

        Pydantic's options hold, with `exclude_unset=True` and `mode="json"` where they are not given.
        """
        return super().model_dump(**{"exclude_unset": True, "mode": "json", "fallback": _name, **options})

    def model_dump_json(self, **options: Any) -> str:
        """The same as JSON."""
        return super().model_dump_json(**{"exclude_unset": True, "fallback": _name, **options})


def _name(thing: Any) -> str:
    cls = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{cls.__module__}.{cls.__qualname__}"


def settings_from_file(path: str | Path, env: Mapping[str, str] | None = None) -> Settings:
    """
    `settings_from` what a YAML, JSON or TOML file holds.

    Raises:
        ConfigError: Also if the file cannot be read; see `loading.py`.
    """
    return settings_from(load_file(path), env)


def settings_from(
    raw: Mapping[str, Any], env: Mapping[str, str] | None = None, *, providers: Iterable[str] = ()
) -> Settings:
    """
    Expand, check and freeze a configuration.

    Args:
        raw: Sections, as a file holds them; in Python with providers and middleware as objects, too.
        env: Variables for `${…}`, and for keys that are not given; `os.environ` if None.
        providers: Names that routes may use beside those of the section, because Python code brings the objects.

    Raises:
        ConfigError: For everything that is wrong with it, with places and right spellings.
    """
    used: dict[str, str] = {}
    environ = os.environ if env is None else env
    given = expand(raw, environ, used=used)
    try:
        return Settings.model_validate(given, context={"providers": tuple(providers), "environ": environ})
    except ValidationError as error:
        problem = explain_validation(error, model=Settings, given=given, hidden=used)
    # Raised out here: pydantic's error holds the values that were refused, keys among them.
    raise problem
