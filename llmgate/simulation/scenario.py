"""What a scenario may say, as checked and frozen values: who calls, how the upstreams behave, and what happens to them.

A scenario is data and knows no configuration: it speaks of whatever upstreams there are, by patterns, so one scenario
puts any configuration to the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from .. import errors
from ..config.explaining import explain_validation, suggestion
from ..config.loading import load_file, load_yaml
from ..config.short_forms import listed
from ..errors import ConfigError, GatewayError
from ..providers.simulated import FAILURES
from ..types.units import Duration, Rate
from .spreads import Amount, Durations

__all__ = [
    "ERRORS", "SILENCE", "Behaviour", "Bursts", "Day", "Event", "Questions", "Ramp", "Scenario", "ServerLimit", "Traffic",
    "find_scenario", "scenario_from", "scenario_schema", "shipped",
]  # fmt: skip

SILENCE = "silence"
"""Stands among the kinds of errors for an upstream that takes a request and never says a word."""

CALLS_MAX = 5_000_000  # expected in one run; it keeps a note of each in memory, and they take some five minutes
WINDOWS_MAX = 10_000  # of one event that comes again and again

ERRORS: Mapping[str, type[GatewayError] | None] = {
    SILENCE: None,
    "auth": errors.AuthenticationFailed,
    "policy": errors.ContentFiltered,
    "protocol": errors.ProtocolError,
    "request": errors.BadRequest,
    "throttled": errors.RateLimited,
    "transient": errors.UpstreamError,
    "truncated": errors.StreamInterrupted,
    **FAILURES,
}
"""What stands in `errors`, and what it raises: kinds of errors, and the outcome classes, each for its plainest kind."""


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class ServerLimit(_Options):
    """What a provider lets through for each deployment: a bucket that refills steadily. What is more gets a 429."""

    requests_per_minute: float | None = Field(default=None, gt=0, description="requests in a minute")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="tokens of prompts in a minute")
    burst: Duration = Field(default=60.0, gt=0, description="how much of the rate may come at once after a rest")
    retry_after: bool = Field(default=True, description="whether its 429s say when to come back")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("limits nothing; give requests_per_minute or tokens_per_minute")
        return self


class Behaviour(_Options):
    """How an upstream behaves. What is not said stays as it was."""

    first_token: Durations | None = Field(default=None, description="time to the first token")
    tokens_per_second: Amount | None = Field(default=None, description="pace of an answer from then on")
    latency: Durations | None = Field(
        default=None, description="time of a whole answer, in place of first token and pace"
    )
    slower: float | None = Field(default=None, gt=0, description="times that everything takes longer")
    errors: dict[str, float] | None = Field(
        default=None, description="kinds of errors or outcome classes, `silence` among them, and their shares"
    )
    error_time: Durations | None = Field(default=None, description="how long it takes to fail")
    retry_after: Duration | None = Field(default=None, description="what its rate_limited errors ask for")
    limit: ServerLimit | None = Field(default=None, description="what it lets through; more gets a 429")
    down: bool | None = Field(default=None, description="nobody is there; what it was doing breaks off")
    price: float | None = Field(default=None, ge=0, description="times its usual price")

    @field_validator("errors")
    @classmethod
    def _known(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        for kind, share in (shares or {}).items():
            if kind not in ERRORS:
                raise ValueError(f'"{kind}" is no kind of error; {suggestion(kind, ERRORS)}')
            if not 0 <= share <= 1:
                raise ValueError(f"{kind}: a share is from 0 to 1, not {share:g}")
        if sum((shares or {}).values()) > 1 + 1e-9:
            raise ValueError("the shares are more than 1 together")
        return shares


Patterns = Annotated[
    tuple[str, ...], BeforeValidator(listed, json_schema_input_type=tuple[str, ...] | str)
]  # fmt: skip


class Event(Behaviour):
    """
    Something that happens: for a while some upstreams behave otherwise. Of two at a time the later in the list wins.

    `where` names providers, deployments (`provider/model`) or patterns of them (`open*`), regions (`region:eu`), or, for
    scenarios that fit any configuration, `first`, `second`, `others` (all but the first), and `region:first`: a provider's
    place among those that the routes name, in order.
    """

    at: Duration = Field(ge=0, description="when it begins")
    for_: Duration | None = Field(default=None, alias="for", gt=0, description="how long it lasts; none: to the end")
    every: Duration | None = Field(default=None, gt=0, description="how often it comes again; none: once")
    where: Patterns = Field(default=("*",), min_length=1, description="whom it happens to")

    @model_validator(mode="after")
    def _ends_before_it_comes_again(self) -> Self:
        if self.every is not None and (self.for_ is None or self.for_ >= self.every):
            raise ValueError("what comes again must be over before that: give `for`, less than `every`")
        return self


class Ramp(_Options):
    """The rate grows, or falls, steadily to another one."""

    to: Rate = Field(description="the rate in the end")
    start: Duration = Field(default=0.0, ge=0, description="when it begins")
    over: Duration | None = Field(default=None, gt=0, description="how long it takes; none: what is left")


class Bursts(_Options):
    """Every now and then many come at once."""

    every: Duration = Field(gt=0, description="from the beginning of one to that of the next")
    for_: Duration = Field(alias="for", gt=0, description="how long one lasts")
    times: float = Field(gt=0, description="times the rate")


class Day(_Options):
    """The rate rises and falls with the day, as a cosine; the rate that was said is that of the peak."""

    low: float = Field(default=0.2, ge=0, le=1, description="the quietest hour, as a share of the peak")
    peak: Duration = Field(default=14 * 3600.0, ge=0, description="when the peak is, from the beginning")
    period: Duration = Field(default=24 * 3600.0, gt=0, description="length of the day")


class Questions(_Options):
    """Questions that come again, by Zipf's law."""

    distinct: int = Field(default=1000, ge=1, le=1_000_000, description="how many there are")
    zipf: float = Field(default=1.0, ge=0, description="how much more the popular ones are asked; 0: all alike")


class Traffic(_Options):
    """Who calls, how often, and for what."""

    routes: dict[str, float] | None = Field(
        default=None, description="routes (or `provider/model`) and their shares; none: all routes alike"
    )
    rate: Rate = Field(default=Rate(5, 1.0), description="calls in a time")
    arrivals: Literal["poisson", "constant"] = Field(
        default="poisson", description="by chance as independent callers come, or evenly spaced"
    )
    ramp: Ramp | None = Field(default=None, description="a rate that grows")
    bursts: Bursts | None = Field(default=None, description="many at once, every now and then")
    day: Day | None = Field(default=None, description="a rate that rises and falls with the day")
    tenants: dict[str, float] | None = Field(default=None, description="tenants and their shares")
    streamed: float = Field(default=0.5, ge=0, le=1, description="share of calls that are streams")
    prompt_tokens: Amount = Field(default=Amount(p50=300, p99=4000), description="length of the prompts")
    output_tokens: Amount = Field(default=Amount(p50=150, p99=1200), description="length of the answers")
    questions: Questions | None = Field(default=None, description="questions that come again; none: each is new")
    timeout: Duration | None = Field(default=None, gt=0, description="what callers give a call; none: the default")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("routes"), str):
            return {**value, "routes": {value["routes"]: 1.0}}
        return value

    @field_validator("routes", "tenants")
    @classmethod
    def _shared(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        if shares is not None and (min(shares.values(), default=0) < 0 or not sum(shares.values()) > 0):
            raise ValueError("shares are 0 or more, and one of them is more than 0")
        return shares

    def highest(self) -> float:
        """Calls a second that are never passed."""
        rate = self.rate.per_second
        if self.ramp is not None:
            rate = max(rate, self.ramp.to.per_second)
        return rate * max(1.0, self.bursts.times if self.bursts is not None else 1.0)


USUAL = Behaviour(
    first_token=Durations(p50=0.6, p99=3.0),
    tokens_per_second=Amount(p50=60, p99=120),
    slower=1.0,
    errors={},
    error_time=Durations(p50=0.15, p99=1.0),
    down=False,
    price=1.0,
)
"""How an upstream behaves of which nobody said anything: as hosted models of medium size do on a good day."""


class Scenario(_Options):
    """
    A whole scenario.

    Raises:
        ValidationError: If it cannot be played. `scenario_from` says the same as a `ConfigError`.
    """

    name: str = Field(default="", description="what to call it")
    about: str = Field(default="", description="what happens, in a sentence")
    duration: Duration = Field(default=600.0, gt=0, description="for how long calls come; those in the air then end")
    traffic: Annotated[
        tuple[Traffic, ...], BeforeValidator(listed, json_schema_input_type=tuple[Traffic, ...] | Traffic)
    ] = Field(default=(Traffic(),), min_length=1, description="who calls")
    upstreams: dict[str, Behaviour] = Field(
        default_factory=dict, description="how they behave, by the words of an event's `where`; the later wins"
    )
    events: tuple[Event, ...] = Field(default=(), description="what happens to them")
    bucket: Duration | None = Field(
        default=None, gt=0, description="width of a row in the report over time; none: a sixtieth of the duration"
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        calls = sum(traffic.highest() for traffic in self.traffic) * self.duration
        if calls > CALLS_MAX:
            raise ValueError(f"that would be {calls:.3g} calls at the highest rate; at most {CALLS_MAX:.0g} are played")
        for event in self.events:
            if event.every is not None and self.duration / event.every > WINDOWS_MAX:
                raise ValueError(f"an event comes again more than {WINDOWS_MAX} times")
        return self

    def width_s(self) -> float:
        """Seconds of one row of the report over time."""
        return self.bucket if self.bucket is not None else self.duration / 60


def scenario_from(raw: Mapping[str, Any], name: str = "") -> Scenario:
    """
    Check and freeze a scenario.

    Args:
        name: What to call it, if it does not say that itself.

    Raises:
        ConfigError: For everything that is wrong with it, with places and right spellings.
    """
    try:
        return Scenario.model_validate({"name": name, **raw})
    except ValidationError as error:
        raise explain_validation(error, model=Scenario, given=raw) from None


def shipped() -> list[str]:
    """The names of the scenarios that come with the package."""
    entries = (files("llmgate.simulation") / "scenarios").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def find_scenario(name: str) -> Scenario:
    """
    A scenario by its file, or by its name among those that come with the package.

    Raises:
        ConfigError: If there is none, or something is wrong with it.
    """
    path = Path(name)
    if path.suffix or path.is_file():
        return scenario_from(load_file(path), path.stem)
    if name not in (known := shipped()):
        raise ConfigError(f'there is no scenario "{name}"; {suggestion(name, known)}')
    return scenario_from(
        load_yaml((files("llmgate.simulation") / "scenarios" / f"{name}.yaml").read_bytes(), name), name
    )


def scenario_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario (2020-12), for editors."""
    schema = Scenario.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "llmgate scenario"}
