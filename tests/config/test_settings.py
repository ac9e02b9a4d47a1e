"""What a configuration may say, what it means, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from llmgate.config import Settings, load_yaml, settings_from, settings_from_file
from llmgate.config.settings import ANY_MODEL, Target, UserMiddlewareSettings
from llmgate.errors import ConfigError
from llmgate.middleware.attempts import Retry
from llmgate.middleware.base import SLOTS
from llmgate.middleware.breaker import CircuitBreaker
from llmgate.middleware.cache import Cache
from llmgate.middleware.health import LoadBalance
from llmgate.middleware.limits import RateLimit
from llmgate.middleware.timeouts import Timeouts
from llmgate.providers.openai import OpenAI, OpenAICompatible
from llmgate.providers.simulated import Simulated
from llmgate.types.secret import Secret

SAMPLES = Path(__file__).parent / "samples"
"""What the documentation prints: the whole of it, and the blocks by themselves."""

BLOCKS = ("chain", "retry", "balance", "cache", "breaker", "limit")


def sample(*names: str) -> str:
    return "".join((SAMPLES / f"{name}.yaml").read_text() for name in names)


ENV = {"OPENAI_API_KEY": "sk-very-secret-indeed"}


def loaded(text: str) -> Settings:
    return settings_from(load_yaml(text), ENV)


def test_every_section_is_the_constructor_of_its_class() -> None:
    """
    The whole documented configuration loads, and each section equals its class called with the same options.
    """
    settings = loaded(sample("whole"))

    assert Retry(max_attempts=3, backoff="exponential", base_delay=1.0, max_delay=30.0) == settings.retry
    assert CircuitBreaker(threshold=5, timeout=30.0) == settings.circuit_breaker
    assert (
        RateLimit(requests_per_minute=1000),
        RateLimit(
            per="tenant", requests_per_minute=60, tokens_per_minute=40000, strategy="token_bucket", on_limit="wait"
        ),
    ) == settings.rate_limit
    tiers = ["memory", {"kind": "sqlite", "path": ".llmgate/cache.db"}]
    assert Cache.model_validate({"key_hash": "sha256", "tiers": tiers}) == settings.cache
    assert Timeouts(total=120.0, connect=5.0, first_token=60.0, idle=30.0) == settings.timeouts
    assert LoadBalance(strategy="round_robin", health_check=30.0, weights={"openai": 60, "anthropic": 40}) == (
        settings.load_balance
    )
    assert (UserMiddlewareSettings(use="my_middleware", slot="before_cache"),) == settings.middleware


def test_a_provider_is_of_the_class_of_its_kind() -> None:
    """
    The name of a section is its kind unless it says another, and variables are put in.
    """
    providers = loaded(sample("whole")).providers
    openai, local, pretend = providers["openai"], providers["local"], providers["pretend"]

    assert isinstance(openai, OpenAI) and isinstance(local, OpenAICompatible) and isinstance(pretend, Simulated)
    assert Secret("sk-very-secret-indeed") == openai.api_key
    assert "http://127.0.0.1:8000/v1" == local.base_url
    assert 0.08 == pretend.latency
    assert ["openai", "anthropic", "local", "pretend"] == [provider.name for provider in providers.values()]


def test_a_row_of_the_catalog_needs_no_class() -> None:
    """
    `groq: {}` is a compatible upstream with the address, key variable and quirks of its row.
    """
    provider: dict[str, Any] = {**loaded("providers: {groq: {}, second: {kind: grok}}").providers}

    assert "https://api.groq.com/openai/v1" == provider["groq"].row.base_url
    assert "https://api.x.ai/v1" == provider["second"].row.base_url


def test_a_route_names_its_deployments_in_order() -> None:
    """
    A list of targets, a single one and the long form mean what they say; a model may hold slashes.
    """
    routes = loaded(
        """
        routes:
          list: [openai/gpt-4o-mini, together/meta-llama/Llama-3.3-70B]
          one: openai/gpt-5
          provider: [openai]
          long: {deployments: openai/gpt-5, fallback: anthropic/claude-haiku-4-5}
        """
    ).routes

    def named(targets: tuple[Target, ...]) -> list[tuple[str, str]]:
        return [(target.provider, target.model) for target in targets]

    assert [("openai", "gpt-4o-mini"), ("together", "meta-llama/Llama-3.3-70B")] == named(routes["list"].deployments)
    assert [("openai", "gpt-5")] == named(routes["one"].deployments)
    assert [("openai", ANY_MODEL)] == named(routes["provider"].deployments)
    assert [("anthropic", "claude-haiku-4-5")] == named(routes["long"].fallback)
    assert routes["list"].strategy is None


def test_a_chain_of_providers_is_the_default_route() -> None:
    """
    `primary` and `fallback` make the route `default`: each provider in turn, with the model the caller names.
    """
    settings = loaded(sample("chain"))

    assert ["openai", "anthropic", "groq"] == list(settings.providers)
    assert ["openai/*", "anthropic/*", "groq/*"] == [t.target for t in settings.routes["default"].deployments]
    assert "ordered" == settings.routes["default"].strategy


def test_a_chain_takes_sections_and_routes_beside_it() -> None:
    """
    A provider of the chain may have its section, and other routes stay.
    """
    settings = loaded(
        """
        providers: {primary: openai, fallback: mine, mine: {kind: openai-compatible, base_url: "http://[::1]:1/v1"}}
        routes: {fast: openai/gpt-4o-mini}
        """
    )

    assert ["default", "fast"] == list(settings.routes)
    assert isinstance(settings.providers["mine"], OpenAICompatible)


def test_a_provider_may_be_called_primary() -> None:
    """
    A mapping under `primary` is a section like any other.
    """
    settings = loaded("providers: {primary: {kind: openai}, fallback: {kind: anthropic}}")

    assert ["primary", "fallback"] == list(settings.providers)
    assert {} == settings.routes


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_a_guide_loads_alone(block: str) -> None:
    """
    Each of the blocks that architecture guides print is a configuration by itself.
    """
    assert loaded(sample(block)).model_dump()


def test_the_blocks_of_the_guides_load_together() -> None:
    """
    And all of them together are one, too.
    """
    settings = loaded(sample(*BLOCKS))

    assert (RateLimit(requests_per_minute=60, burst=10),) == settings.rate_limit
    assert 10_000 == (settings.cache or Cache()).max_size


@pytest.mark.parametrize(
    "written",
    [
        "rate_limit: 60/min",
        "rate_limit: [60/min]",
        "rate_limit: {requests: 60/min}",
        "rate_limit: [{requests: 60/min}]",
    ],
)
def test_one_limit_is_a_list_of_one(written: str) -> None:
    """
    A rate, a mapping and a list of either are the same.
    """
    assert (RateLimit.model_validate({"requests": "60/min"}),) == loaded(written).rate_limit


@pytest.mark.parametrize(
    ("written", "enabled"), [("off", False), ("no", False), ("false", False), ("on", True), ("true", True)]
)
def test_a_section_is_a_switch(written: str, enabled: bool) -> None:
    """
    `cache: off` and `retry: on` say no more than whether there is one.
    """
    settings = loaded(f"cache: {written}\nretry: {written}\ncircuit_breaker: {written}\nsingle_flight: {written}")
    sections = (settings.cache, settings.retry, settings.circuit_breaker, settings.single_flight)

    assert [enabled] * 4 == [section is not None and section.enabled for section in sections]


def test_what_nobody_said_is_none() -> None:
    """
    An empty configuration, and sections with nothing under them, leave everything to the gateway's defaults.
    """
    settings = loaded("retry:\nroutes:\ncache:\n")

    assert Settings() == settings
    assert settings.retry is None and settings.cache is None
    assert {} == settings.model_dump()


def test_prices_are_exact_dollars() -> None:
    """
    A price is money for a million tokens, and becomes the value that computes costs.
    """
    settings = loaded(
        'prices: {openai/gpt-5: {input: $1.25, output: 10, cache_read: 0.125}, "local/*": {input: 0, output: 0}}'
    )

    price = settings.prices["openai/gpt-5"].price()
    assert (Decimal("1.25"), Decimal("10"), Decimal("0.125"), None) == (
        price.input, price.output, price.cache_read, price.reasoning
    )  # fmt: skip


def test_a_middleware_of_ones_own_takes_its_options() -> None:
    """
    What stands beside `use` and `slot` goes to the constructor; a name or an object alone will do.
    """

    async def mine(call: Any, call_next: Any) -> Any:
        return await call_next(call)

    settings = settings_from({"middleware": ["one", {"use": "two", "slot": "outermost", "depth": 3}, mine]}, ENV)

    assert ["one", "two", mine] == [section.use for section in settings.middleware]
    assert {"depth": 3} == settings.middleware[1].options
    assert settings.model_dump()["middleware"][2]["use"].endswith("mine")


def test_python_may_pass_providers() -> None:
    """
    A provider object stands under its section's name, and routes may use objects that come from elsewhere.
    """
    given = {"providers": {"mine": Simulated()}, "routes": {"fast": ["mine/x", "theirs/y"]}}

    assert "mine" == settings_from(given, ENV, providers=["theirs"]).providers["mine"].name


def test_slots_are_those_of_the_pipeline() -> None:
    """
    The configuration knows exactly the slots there are.
    """
    told = UserMiddlewareSettings.model_fields["slot"].annotation

    assert SLOTS == get_args(get_args(told)[0])


@pytest.mark.parametrize("text", [sample("whole"), sample("chain"), sample(*BLOCKS)])
def test_a_dump_is_what_was_said_without_its_keys(text: str) -> None:
    """
    The dump loads again as the same configuration, holds no key, and survives JSON.
    """
    settings = loaded(text)

    dumped = settings.model_dump()

    assert "secret-indeed" not in json.dumps(dumped) + settings.model_dump_json() + repr(settings)
    again = Settings(**dumped).model_dump()
    dumped["providers"].get("openai", {}).pop("api_key", None)
    again["providers"].get("openai", {}).pop("api_key", None)
    assert dumped == again
    assert set(load_yaml(text)) | set(dumped) == set(dumped)
    assert json.loads(settings.model_dump_json()).keys() == dumped.keys()


def test_a_dump_holds_no_more_than_was_said() -> None:
    """
    A default that depends on what was left out is the same after a dump.
    """
    said = {"providers": {"openai": {}, "a": {"kind": "groq"}}, "routes": {"b": ["a/x"]}, "timeouts": {"idle": "10s"}}

    settings = settings_from(said, ENV)

    assert said == settings.model_dump()
    assert (120.0, 600.0) == (Settings(**settings.model_dump()).timeouts or Timeouts(total=1.0)).totals()


def test_headers_are_masked() -> None:
    """
    Keys that travel in headers of one's own are keys.
    """
    settings = loaded("providers: {openai: {headers: {x-tenant-key: sk-very-secret}}}")
    openai: Any = settings.providers["openai"]

    assert "very-secret" not in json.dumps(settings.model_dump())
    assert {"x-tenant-key": "sk-very-secret"} == openai.headers


def test_settings_do_not_change() -> None:
    """
    A section that was checked stays what it is.
    """
    with pytest.raises(ValueError, match="frozen"):
        loaded(sample("retry")).__setattr__("retry", None)


def test_a_file_is_a_configuration(tmp_path: Path) -> None:
    """
    A file is read, expanded and checked in one step.
    """
    (tmp_path / "gate.toml").write_text('[providers.openai]\napi_key = "${OPENAI_API_KEY}"')

    settings = settings_from_file(tmp_path / "gate.toml", ENV)

    openai: Any = settings.providers["openai"]
    assert Secret("sk-very-secret-indeed") == openai.api_key


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("provders: {}", 'provders: unknown option; did you mean "providers"?'),
        (
            "providers: {opanai: {}}",
            'providers.opanai: "opanai" is no known provider; did you mean "openai"? '
            "(a server of your own is `kind: openai-compatible`)",
        ),
        ("providers: {openai: {api_kye: x}}", 'providers.openai.api_kye: unknown option; did you mean "api_key"?'),
        (
            "providers: {openai: {name: x}}",
            "providers.openai.name: the name of this provider is openai; leave `name` out",
        ),
        ("providers: {openai: {modles: {}}}", 'providers.openai.modles: unknown option; did you mean "models"?'),
        ("providers: {openai: {kind: 5}}", "providers.openai.kind: 5 is not a text"),
        (
            "providers: {openai: sk-very-secret}",
            "providers.openai: this is not a mapping; write `openai: {}`, or the key as `openai: {api_key: …}`",
        ),
        ('providers: {openai: {api_key: ""}}', "providers.openai.api_key: the key is empty"),
        (
            "providers: {open ai: {}}",
            'providers["open ai"]: a provider\'s name is made of letters, digits, dots, hyphens and underscores',
        ),
        ("providers: openai", 'providers: "openai" is not a mapping; write `openai: {}`'),
        (
            "providers: {primary: openai, fallback: [5]}",
            "providers.fallback: a chain names its providers: primary: openai, fallback: [anthropic]",
        ),
        (
            "providers: {primary: openai}\nroutes: {default: [openai/x]}",
            "routes.default: a chain of providers makes the route default; give one or the other",
        ),
        (
            "providers: {openai: {}}\nroutes: {fast: [openai/x, opnai/x]}",
            'routes.fast[1]: there is no provider "opnai"; did you mean "openai"?',
        ),
        (
            "providers: {openai: {}}\nroutes: {fast: {deployments: [openai/x], fallback: [{target: azure/x}]}}",
            'routes.fast.fallback[0].target: there is no provider "azure"; known are openai',
        ),
        (
            "providers: [openai]\nload_balance: {weights: {opnai: 3}}",
            'load_balance.weights.opnai: there is no provider "opnai"; did you mean "openai"?',
        ),
        (
            "providers: [openai]\nprices: {opnai/gpt-5: {input: 1}}",
            'prices.opnai/gpt-5: there is no provider "opnai"; did you mean "openai"?',
        ),
        ("routes: {fast: []}", "routes.fast: too few; 1 or more must be given"),
        ("routes: {fast: /x}", 'routes.fast: "/x" is no deployment; write provider/model'),
        ("routes: {fast: 5}", "routes.fast: 5 is not a mapping; write `key: value` pairs"),
        (
            "routes: {smart: {deployments: [openai/x, {target: openai/y, wieght: 1}]}}",
            'routes.smart.deployments[1].wieght: unknown option; did you mean "weight"?',
        ),
        (
            "routes: {smart: {strategy: weigthed, deployments: [openai/x]}}",
            'routes.smart.strategy: "weigthed" is not an option; did you mean "weighted"?',
        ),
        (
            "routes: {smart: {deployments: [{target: openai/x, weight: .inf}]}}",
            "routes.smart.deployments[0].weight: inf is not a finite number",
        ),
        ("retry: {max_attempts: 99}", "retry.max_attempts: 99 is too large; it must be at most 10"),
        ("retry: {base_delay: 1sec2}", 'retry.base_delay: "1sec2" is not a duration; write 30s, 5m or 1h30m'),
        ("retry: maybe", 'retry: "maybe" is not a mapping; write `key: value` pairs'),
        ("circuit_breaker: {treshold: 5}", 'circuit_breaker.treshold: unknown option; did you mean "threshold"?'),
        ("rate_limit: 60", "rate_limit: 60 is not a mapping; write `key: value` pairs"),
        ("rate_limit: [60/mon]", 'rate_limit[0]: "60/mon" is not a rate; write 60/min, 10/s or 5/10s'),
        ("cache: {tiers: [memroy]}", 'cache.tiers[0]: "memroy" is not an option; did you mean "memory"?'),
        ("cache: {tiers: [{kind: sqlite, pth: x}]}", 'cache.tiers[0].pth: unknown option; did you mean "path"?'),
        ("cache: {max_bytes: 64M}", 'cache.max_bytes: "64M" is not a size; write 64MiB, 1GB or a number of bytes'),
        ("timeouts: {total: 0s}", 'timeouts.total: "0s" is too small; it must be greater than 0'),
        ("timeouts: off", 'timeouts: "off" is not a mapping; write `key: value` pairs'),
        ("middleware: [{slot: outermost}]", "middleware[0].use: is missing; it has no default"),
        ("middleware: [5]", "middleware[0]: 5 is no middleware; write the name of an entry point"),
        (
            "middleware: [{use: x, slot: befor_cache}]",
            'middleware[0].slot: "befor_cache" is not an option; did you mean "before_cache"?',
        ),
        ("http: {engine: requests}", 'http.engine: "requests" is not an option; known are aiohttp, auto, httpx2'),
        (
            "prices: {a/b: {input: 1 EUR}}",
            'prices.a/b.input: "1 EUR" is not an amount of US dollars; write $25 or 0.10',
        ),
        ("defaults: {tags: {team: 5}}", "defaults.tags.team: 5 is not a text; put it in quotes"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(written: str, text: str) -> None:
    """
    Every mistake is told with the path in the file, what is wrong, and what to write.
    """
    with pytest.raises(ConfigError) as caught:
        loaded(written)

    assert text == str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    """
    Mistakes in different sections, inside of providers and outside, come in one error, sorted by place.
    """
    with pytest.raises(ConfigError) as caught:
        loaded("retry: {max_attempts: x}\nproviders: {openai: {api_kye: x, allow_http: maybe}, b: {}}")

    assert [
        "the configuration has 4 problems:",
        '  providers.b: "b" is no known provider; see the documentation (a server of your own is `kind: openai-compatible`)',
        '  providers.openai.allow_http: "maybe" is neither true nor false',
        '  providers.openai.api_kye: unknown option; did you mean "api_key"?',
        '  retry.max_attempts: "x" is not a whole number',
    ] == str(caught.value).splitlines()


@pytest.mark.parametrize(
    "written",
    [
        "providers: {openai: {api_key: [1, '${OPENAI_API_KEY}']}}",
        "providers: {openai: {api_key: {value: '${OPENAI_API_KEY}'}}}",
        "providers: {openai: '${OPENAI_API_KEY}'}",
        "providers: {openai: {kind: '${OPENAI_API_KEY}'}}",
        "providers: {openai: {base_url: '${OPENAI_API_KEY}'}}",
        "providers: {openai: {base_url: 'https://${OPENAI_API_KEY}@host/v1'}}",
        "providers: {openai: {headers: {'a b': '${OPENAI_API_KEY}'}}}",
        "providers: {openai: {headers: {'a': \"${OPENAI_API_KEY}\\n\"}}}",
        "retry: {base_delay: '${OPENAI_API_KEY}'}",
        "retry: {backoff: '${OPENAI_API_KEY}'}",
        "retry: {fallback_on: ['${OPENAI_API_KEY}']}",
        "routes: {fast: '/${OPENAI_API_KEY}'}",
        "providers: {openai: {}}\nroutes: {fast: '${OPENAI_API_KEY}/x'}",
        "cache: {tiers: ['${OPENAI_API_KEY}']}",
        "middleware: [{use: x, slot: '${OPENAI_API_KEY}'}]",
        "http: {engine: '${OPENAI_API_KEY}'}",
    ],
)
def test_no_error_shows_a_key_that_landed_in_the_wrong_place(written: str) -> None:
    """
    Wherever a variable is put in and refused, neither the error nor what hangs on it holds its value.
    """
    with pytest.raises(ConfigError) as caught:
        loaded(written)

    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("key", ["sk-very-secret", "sk-very-secret\n", ["sk-very-secret", 5], {"a": "sk-very-secret"}])
def test_no_error_shows_a_key_that_was_written_out(key: Any) -> None:
    """
    A key that stands in the configuration itself stays out of the errors about it.
    """
    with pytest.raises(ConfigError) as caught:
        settings_from({"providers": {"openai": {"api_key": key, "wrong": 1}}}, ENV)

    assert "secret" not in str(caught.value)
