"""How code that uses llmgate is tested: a real server with a script, a scripted upstream, a clock that is told."""

from llmgate import Gateway, OpenAI, RateLimited, Retry
from llmgate.testing import Script, ScriptedServer, VirtualRuntime, call_for, chat, error


def summary(gateway: Gateway, text: str) -> str:
    """The code under test."""
    return gateway.chat("openai/gpt-4o-mini", f"Sum up: {text}").text


def test_the_summary_survives_a_busy_upstream() -> None:
    """Over a real socket on the loopback: a 503, then an answer."""
    with ScriptedServer(error(503), chat("short")) as server:
        openai = OpenAI(api_key="not-a-key", base_url=server.base_url)
        with Gateway({"retry": {"base_delay": "1ms"}}, providers=[openai]) as gateway:
            assert summary(gateway, "long") == "short"
    assert len(server.requests) == gateway.stats().attempts == 2
    assert server.requests[0].json()["messages"][0]["content"] == "Sum up: long"


def test_a_retry_waits_as_long_as_it_is_asked_to() -> None:
    """On virtual time: a minute passes in no time, and exactly."""
    runtime, upstream = VirtualRuntime(), Script(RateLimited(retry_after=30.0), "ok")
    reply = runtime.run(Retry().wrap(upstream)(call_for(runtime)))
    answer = runtime.run(reply.response())
    assert answer.text == "ok"
    assert 30.0 <= runtime.now() <= 33.0  # and up to a tenth more, so that not everybody comes back at once


if __name__ == "__main__":  # pytest finds them by their names
    for test in (test_the_summary_survives_a_busy_upstream, test_a_retry_waits_as_long_as_it_is_asked_to):
        test()
        print("passed:", test.__name__)
