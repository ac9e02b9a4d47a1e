"""Providers that come, are replaced and go while a gateway is at work."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmgate import BadRequest, ConfigError, Function, Gateway, GatewayClosed, ModelNotFound, OpenAI, Simulated
from llmgate.testing import ScriptedServer, chat, error

from .conftest import Colour


def says(text: str, name: str = "up", **options: object) -> Simulated:
    return Simulated(name=name, answer=text, **options)  # type: ignore[arg-type]


def test_a_newcomer_is_reached_at_once(colour: Colour) -> None:
    """
    A provider that is registered answers to `provider/model`, is among those who offer models, and has a health.
    """
    gateway = colour.gateway({"providers": {"old": {"kind": "simulated"}}})
    with pytest.raises(ModelNotFound):
        colour.chat(gateway, "new/m")

    gateway.register(says("good day", "new"))

    assert "good day" == colour.chat(gateway, "new/m").text
    assert {"old", "new"} == {model.provider for model in colour.ask(gateway, "models")}
    assert gateway.health()["deployments"]["new/m"]["available"]
    assert any("new/m" in step for step in gateway.explain("new/m"))


def test_a_gateway_may_begin_with_nobody(colour: Colour) -> None:
    """
    A gateway without any provider serves those that are registered.
    """
    gateway = colour.gateway()
    gateway.register(Function(lambda messages, **params: "hello", name="parrot"))

    assert "hello" == colour.chat(gateway, "parrot/any").text
    assert "hello" == colour.chat(gateway, "parrot").text


def test_a_name_is_taken_once() -> None:
    """
    A name that is taken is refused, whoever took it, unless its holder is to be replaced.
    """
    with Gateway({"providers": {"up": {"kind": "simulated", "answer": "first"}}}) as gateway:
        with pytest.raises(ConfigError, match="replace=True"):
            gateway.register(says("second"))
        assert "first" == gateway.chat("up/m", "hello").text

        gateway.register(says("second"), replace=True)
        with pytest.raises(ConfigError, match="replace=True"):
            gateway.register(says("third"))

        assert "second" == gateway.chat("up/m", "hello").text


@pytest.mark.parametrize("name", ["a/b", "a#2", "a\nb"])
def test_a_name_must_be_writable(name: str) -> None:
    """
    A name that no call could write is refused.
    """
    with Gateway() as gateway, pytest.raises(ConfigError, match="NAME/MODEL"):
        gateway.register(says("", name))


def test_who_cannot_be_used_is_refused() -> None:
    """
    A provider without the key that it needs is refused, and whoever had the name keeps it.
    """
    with Gateway({"providers": {"openai": {"kind": "simulated", "answer": "still here"}}}, environ={}) as gateway:
        with pytest.raises(ConfigError, match=r"providers\.openai"):
            gateway.register(OpenAI(base_url="https://elsewhere.example/v1"), replace=True)

        assert "still here" == gateway.chat("openai/m", "hello").text


def test_routes_lead_to_who_is_there_now() -> None:
    """
    A route leads to the new holder of a name, and its others keep what is known about them.
    """
    config = {
        "providers": {"up": {"kind": "simulated", "failures": {"upstream_error": 1}}, "other": {"kind": "simulated"}},
        "routes": {"fast": ["up/m", "other/m"]},
        "circuit_breaker": {"threshold": 1},
        "retry": {"max_attempts": 1},
    }
    with Gateway(config) as gateway:
        assert "other/m" == gateway.chat("fast", "hello").deployment
        assert "open" == gateway.health()["deployments"]["up/m"]["circuit"]["state"]
        succeeded = gateway.health()["deployments"]["other/m"]

        gateway.register(says("well again"), replace=True)

        assert succeeded == gateway.health()["deployments"]["other/m"]
        assert "closed" == gateway.health()["deployments"]["up/m"]["circuit"]["state"]
        reply = gateway.chat("fast", "hello")
        assert ("well again", "up/m") == (reply.text, reply.deployment)


def test_a_route_that_leaves_the_model_open_leads_there_too() -> None:
    """
    A chain that takes any model asks the new holder of a name, for models that were asked for before as well.
    """
    config = {
        "providers": {"primary": "one", "fallback": ["two"], "one": {"kind": "simulated"}, "two": {"kind": "simulated"}}
    }
    with Gateway(config) as gateway:
        gateway.chat("gpt", "hello")
        gateway.register(says("new", "one"), replace=True)

        assert "new" == gateway.chat("gpt", "hello").text


def test_a_new_name_means_its_holder() -> None:
    """
    A name that a chain took for a model's until now is that of the provider, once there is one.
    """
    config = {"providers": {"primary": "one", "fallback": [], "one": {"kind": "simulated", "answer": "the chain"}}}
    with Gateway(config) as gateway:
        assert "the chain" == gateway.chat("late/model", "hello").text

        gateway.register(says("here I am", "late"))

        assert "here I am" == gateway.chat("late/model", "hello").text


def test_who_is_gone_is_not_found(colour: Colour) -> None:
    """
    A provider that is taken away is found no more, nor in health; taken away twice, the nearest name is given.
    """
    gateway = colour.gateway()
    gateway.register(says("hello"))
    colour.chat(gateway, "up/m")

    gateway.unregister("up")

    with pytest.raises(ModelNotFound):
        colour.chat(gateway, "up/m")
    assert {} == gateway.health()["deployments"]
    gateway.register(says("again", "upstream"))
    with pytest.raises(ConfigError, match='did you mean "upstream"'):
        gateway.unregister("upstraem")


def test_nobody_goes_whom_a_route_needs() -> None:
    """
    A provider to which a route leads cannot be taken away; the error names the route.
    """
    config = {"providers": {"up": {"kind": "simulated", "answer": "here"}}, "routes": {"fast": ["up/m"]}}
    with Gateway(config) as gateway:
        with pytest.raises(ConfigError, match=r"routes\.fast"):
            gateway.unregister("up")

        assert "here" == gateway.chat("fast", "hello").text


def test_regions_hold_for_newcomers() -> None:
    """
    A route that insists on a region refuses the new holder of a name who is elsewhere.
    """
    config = {
        "providers": {"up": {"kind": "simulated", "region": "eu-west"}},
        "routes": {"near": {"deployments": ["up/m"], "region": "eu"}},
    }
    with Gateway(config) as gateway:
        with pytest.raises(ConfigError, match="insists on region 'eu'"):
            gateway.register(says("far away", region="us-east"), replace=True)

        gateway.register(says("near", region="eu-north"), replace=True)
        assert "near" == gateway.chat("near", "hello").text


def test_calls_under_way_end_with_whom_they_began(server: ScriptedServer) -> None:
    """
    A stream goes on with the provider that it began with, and a call that waits for a retry is retried there.
    """
    server.answer(error(503, headers={"retry-after": "0.3"}), chat("the old one"))
    old = OpenAI(name="up", api_key="a-key", base_url=server.base_url)
    with Gateway(providers=[old]) as gateway, ThreadPoolExecutor() as pool:
        gateway.register(says("one two three four", "talker", tokens_per_second=1000))
        waiting = pool.submit(gateway.chat, "up/m", "hello")
        server.wait_requests(1)
        said: list[str] = []
        with gateway.stream("talker/m", "hello") as stream:
            for chunk in stream:
                if not said:
                    gateway.register(says("five", "talker"), replace=True)
                    gateway.register(says("the new one"), replace=True)
                said.append(chunk.text)

        assert "one two three four" == "".join(said)
        assert "the new one" == gateway.chat("up/m", "hello").text
        assert "the old one" == waiting.result().text


def test_another_ones_answers_are_not_ours() -> None:
    """
    What a cache kept of one holder of a name is not given for the answer of the next.
    """
    config = {"providers": {"up": {"kind": "simulated", "answer": "first"}}, "cache": {"enabled": True}}
    with Gateway(config) as gateway:
        assert ["first", "first"] == [gateway.chat("up/m", "hello", temperature=0).text for _ in range(2)]

        gateway.register(says("second"), replace=True)
        assert "second" == gateway.chat("up/m", "hello", temperature=0).text
        assert "memory" == gateway.chat("up/m", "hello", temperature=0).cached

        gateway.unregister("up")
        gateway.register(says("third"))
        assert "third" == gateway.chat("up/m", "hello", temperature=0).text


def test_many_come_and_go_at_once() -> None:
    """
    Threads that register, replace, ask and unregister at once find each other's providers or none, and nothing breaks.
    """
    found: list[str] = []
    with Gateway({"providers": {"steady": {"kind": "simulated", "answer": "steady"}}}) as gateway:
        barrier = threading.Barrier(6)

        def coming_and_going(number: int) -> None:
            barrier.wait()
            for turn in range(20):
                name = f"p{number}"
                gateway.register(says(f"{name} {turn}", name))
                assert f"{name} {turn}" == gateway.chat(f"{name}/m", "hello").text
                gateway.register(says(f"{name} again", name), replace=True)
                assert f"{name} again" == gateway.chat(f"{name}/m", "hello").text
                gateway.unregister(name)

        def asking() -> None:
            barrier.wait()
            for turn in range(100):
                found.append(gateway.chat("steady/m", f"{turn}").text)

        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(coming_and_going, number) for number in range(4)] + [
                pool.submit(asking) for _ in range(2)
            ]
            for one in work:
                one.result()

        assert {"steady"} == {*found}
        assert ["steady/m"] == [*gateway.health()["deployments"]]


def test_who_is_gone_is_forgotten() -> None:
    """
    However many came and went, nothing is kept of them.
    """
    with Gateway({"providers": {"steady": {"kind": "simulated"}}}) as gateway:
        gateway.chat("steady/m", "hello")
        begun = sizes(gateway._pipeline)
        for number in range(100):
            gateway.register(says("hello", f"p{number}"))
            gateway.chat(f"p{number}/m", "hello")
            gateway.unregister(f"p{number}")

        assert begun == sizes(gateway._pipeline)
        assert {} == gateway._changed


def sizes(pipeline: object) -> dict[str, int]:
    return {name: len(kept) for name, kept in vars(pipeline).items() if isinstance(kept, dict | list | set)}


def test_event_loops_see_whom_a_thread_registers() -> None:
    """
    A provider registered from a thread is reached on an event loop that was there before.
    """
    with Gateway() as gateway:

        async def asked() -> str:
            await asyncio.to_thread(gateway.register, says("from a thread"))
            return (await gateway.aio.chat("up/m", "hello")).text

        assert "from a thread" == asyncio.run(asked())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_has_who_was_there() -> None:
    """
    The child of a fork has the providers that its parent had registered, and not those it had let go.
    """
    gateway = Gateway({"providers": {"old": {"kind": "simulated"}}})
    gateway.register(says("registered"))
    gateway.unregister("old")
    child = os.fork()
    if child == 0:
        right = gateway.chat("up/m", "hello").text == "registered"
        try:
            gateway.chat("old/m", "hello")
        except ModelNotFound:
            os._exit(0 if right else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    gateway.close()

    assert 0 == os.waitstatus_to_exitcode(status)


def test_a_closed_gateway_takes_nobody() -> None:
    """
    A gateway that is closed registers nobody and lets nobody go.
    """
    gateway = Gateway()
    gateway.register(says("hello"))
    gateway.close()

    with pytest.raises(GatewayClosed):
        gateway.register(says("late", "late"))
    with pytest.raises(GatewayClosed):
        gateway.unregister("up")


def test_health_checks_know_newcomers() -> None:
    """
    Whoever is registered is probed with the others, and who is gone no more.
    """
    config = {"providers": {"old": {"kind": "simulated"}}, "load_balance": {"health_check": "1h"}}
    with Gateway(config) as gateway:
        probed = gateway._pipeline._prober
        assert probed is not None
        gateway.register(says("hello"))
        assert ["old", "up"] == [probe.name for probe in probed.probes]
        gateway.unregister("old")
        assert ["up"] == [probe.name for probe in probed.probes]


def test_checks_know_newcomers() -> None:
    """
    A check of a gateway tells of those that were registered as of those in its configuration.
    """
    with Gateway({"providers": {"up": {"kind": "simulated"}}, "routes": {"fast": ["up/m"]}}) as gateway:
        assert not any("providers.late" == finding.path for finding in gateway.check().findings)

        gateway.register(says("hello", "late"))

        assert any("providers.late" == finding.path for finding in gateway.check().findings)
        assert {"fast"} == {*gateway.check().worst}


def test_what_a_newcomer_cannot_do_is_not_asked_of_it() -> None:
    """
    What is known about the models of a newcomer holds for its calls.
    """
    with Gateway() as gateway:
        gateway.register(says("hello", models={"m": {"capabilities": ["embed"]}}))

        with pytest.raises(BadRequest, match="cannot do chat"):
            gateway.chat("up/m", "hello")


def test_clients_of_sdks_reach_newcomers(server: ScriptedServer) -> None:
    """
    An SDK's client that was at work before a provider was registered reaches it by `provider/model`.
    """
    server.answer(chat("from its own upstream"))
    with Gateway() as gateway, gateway.http_client() as client:

        def asked(model: str) -> str:
            body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
            answer = client.post(
                f"{server.base_url}/chat/completions", json=body, headers={"authorization": "Bearer k"}
            )
            text: str = answer.json()["choices"][0]["message"]["content"]
            return text

        assert "from its own upstream" == asked("up/m")
        gateway.register(says("registered"))
        assert "registered" == asked("up/m")
