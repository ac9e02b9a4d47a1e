"""Checked by mypy and pyright, never run: what comes back is known, and options are taken the way people write them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import assert_type

import httpx
import httpx2
from anthropic import AsyncAnthropic
from openai import OpenAI as OpenAIClient

from llmgate import (
    Anthropic,
    AsyncVideoJob,
    AzureOpenAI,
    Cache,
    Chunk,
    CircuitBreaker,
    Embeddings,
    Function,
    Gateway,
    Images,
    LoadBalance,
    Message,
    Models,
    Moderations,
    OpenAI,
    OpenAICompatible,
    ProviderCapability,
    Ranking,
    RateLimit,
    RawResponse,
    Response,
    Retry,
    Secret,
    Simulated,
    SingleFlight,
    Speech,
    Timeouts,
    TokenCount,
    ToolCall,
    Transcription,
    Usage,
    VideoJob,
)
from llmgate.runtime.edge import AsyncStream, Stream
from llmgate.surfaces.check import Finding

gateway = Gateway({"providers": {"openai": {"api_key": "sk"}}, "routes": {"fast": ["openai/gpt-4o-mini"]}})

# The verbs, in plain code.

reply = gateway.chat("fast", "hello", temperature=0, tools=[{"type": "function"}], timeout="20s", tags={"a": "b"})
assert_type(reply, Response)
assert_type(reply.text, str)
assert_type(reply.tool_calls, list[ToolCall])
assert_type(reply.usage, Usage)
assert_type(reply.usage.input_tokens, int | None)
assert_type(reply.cost, Decimal | None)
assert_type(reply.cached, str | None)
assert_type(gateway.chat("fast", [{"role": "user", "content": "hi"}, Message("user", "hi")]), Response)
assert_type(gateway.complete("fast", "Once"), Response)
assert_type(gateway.embed("fast", ["a", "b"]), Embeddings)
assert_type(gateway.embed("fast", "a").vectors, list[list[float]])
assert_type(gateway.models(), Models)
assert_type(gateway.request("openai", "POST", "/moderations", json={}), RawResponse)
assert_type(gateway.stream("fast", "hello"), Stream)
with gateway.stream("fast", "hello") as stream:
    assert_type(stream, Stream)
    for chunk in stream:
        assert_type(chunk, Chunk)
    assert_type(stream.response, Response)
assert_type(gateway.explain("fast", "hello"), list[str])

# Everything beside chat.

assert_type(gateway.image("fast", "a fox", image=b"x"), Images)
assert_type([image.content for image in gateway.image("fast", "a fox")], list[bytes | None])
assert_type(gateway.moderate("fast", "words").flagged, bool)
assert_type([ranked.score for ranked in gateway.rerank("fast", "q", ["a", {"text": "b"}])], list[float])
assert_type(gateway.transcribe("fast", Path("a.wav")).text, str)
assert_type(gateway.transcribe("fast", ("a.wav", b"x", "audio/wav")), Transcription)
assert_type(gateway.speak("fast", "hi", voice="alloy").content, bytes)
assert_type(gateway.count_tokens("fast", "hi").input_tokens, int)
job = gateway.video("fast", "a fox")
assert_type(job, VideoJob)
assert_type(job.wait(timeout="20m", poll=5, on_progress=lambda job: print(job.progress)), VideoJob)
assert_type(job.content(), bytes)
assert_type(gateway.video_job(job.deployment, job.id), VideoJob)

# Under SDKs, which take what they are given.

assert_type(gateway.http_client(), httpx2.Client)
assert_type(gateway.http_client("httpx"), httpx.Client)
assert_type(gateway.aio.http_client("httpx2"), httpx2.AsyncClient)
assert_type(gateway.aio.http_client("httpx"), httpx.AsyncClient)
OpenAIClient(http_client=gateway.http_client())
AsyncAnthropic(http_client=gateway.aio.http_client())
assert_type(gateway.attach(OpenAIClient()), OpenAIClient)
assert_type(gateway.detach(AsyncAnthropic()), AsyncAnthropic)
httpx.Client(transport=gateway.transport("httpx"))
httpx2.AsyncClient(transport=gateway.transport())

# The same for asyncio.


async def asyncio_verbs() -> None:
    assert_type(await gateway.aio.chat("fast", "hello"), Response)
    assert_type(await gateway.aio.complete("fast", "Once"), Response)
    assert_type(await gateway.aio.embed("fast", "a"), Embeddings)
    assert_type(await gateway.aio.models(), Models)
    assert_type(await gateway.aio.request("openai", "GET", "/x"), RawResponse)
    assert_type(await gateway.aio.image("fast", "a fox"), Images)
    assert_type(await gateway.aio.rerank("fast", "q", ["a"]), Ranking)
    assert_type(await gateway.aio.moderate("fast", "a"), Moderations)
    assert_type(await gateway.aio.transcribe("fast", b"x"), Transcription)
    assert_type(await gateway.aio.speak("fast", "hi"), Speech)
    assert_type(await gateway.aio.count_tokens("fast", "hi"), TokenCount)
    job = await gateway.aio.video("fast", "a fox")
    assert_type(job, AsyncVideoJob)
    assert_type(await job.wait(on_progress=lambda job: print(job.status)), AsyncVideoJob)
    assert_type(await job.content(), bytes)
    assert_type(gateway.aio.stream("fast", "hello"), AsyncStream)
    async with gateway.aio.stream("fast", "hello") as stream:
        async for chunk in stream:
            assert_type(chunk, Chunk)
        assert_type(stream.response, Response)


# A provider by itself.

openai = OpenAI(api_key="sk", base_url="https://api.openai.com/v1", headers={"x": "1"}, region="eu", name="mine")
OpenAI(api_key=["sk-1", "sk-2"], models={"m": {"context_window": 1000}})
OpenAI(api_key=Secret("sk"), http_client=object())
Anthropic(api_key="sk", allow_http=True)
AzureOpenAI(resource="mine", api_version="2024-10-21", api_key="sk")


async def entra_token() -> str:
    return "a token"


AzureOpenAI(resource="mine", api_key=entra_token)
AzureOpenAI(resource="mine", api_key=[entra_token, "sk"])
AzureOpenAI(resource="mine", api_key=lambda: "a token")
OpenAICompatible(vendor="groq")
Simulated(latency="80ms", tokens_per_second=200, failures={"rate_limited": 0.05}, answer="x", retry_after="1s", seed=1)
Function(lambda messages, **params: "hello", embedder=lambda inputs: [[1.0]], name="own")

gateway.register(Simulated(name="late"), replace=True)
gateway.unregister("late")
assert_type(gateway.check().errors, list[Finding])
word: str = ProviderCapability.TOOL_CALLING

assert_type(openai.chat("gpt-4o-mini", "hi"), Response)
assert_type(openai.models(), Models)
assert_type(openai.request("POST", "/moderations", json={}), RawResponse)
with openai as entered:
    assert_type(entered, OpenAI)


async def asyncio_provider() -> None:
    async with openai.aio as provider:
        assert_type(await provider.chat("gpt-4o-mini", "hi"), Response)
        assert_type(await provider.models(), Models)
        assert_type(await provider.request("GET", "/x"), RawResponse)


# Options, as people write them.

Retry(
    max_attempts=3, base_delay="1s", max_delay=30, backoff="linear", jitter="none", fallback_on=frozenset({"throttled"})
)
CircuitBreaker(threshold=5, timeout="30s", slow="10s")
RateLimit(requests_per_minute=1000, per="tenant", on_limit="reject", max_wait="5s")
RateLimit(tokens="1000000/day", requests="60/min")
Cache(ttl="1h", max_bytes="64MiB", key_hash="sha256")
Timeouts(total="120s", attempt="30s", first_token=60)
LoadBalance(strategy="weighted", health_check="30s", weights={"openai": 60})
SingleFlight(enabled=False)
Gateway(providers=[openai, Simulated()], middleware=[Retry()])

# The decorator.


@gateway.wrap
def plain(text: str, *, loud: bool = False) -> int:
    return 1


@gateway.wrap(cache="1h", retry=3, rate_limit="60/min", timeout="20s", fallback=plain, tenant="acme", name="ask")
def optioned(text: str, *, loud: bool = False) -> int:
    return 1


@gateway.wrap(cache={"ttl": "1h"}, retry=False, timeout=5, circuit_breaker=False, fallback=[plain], key=lambda x: x)
async def coroutine(number: int) -> list[str]:
    return []


@gateway.wrap
def generator(number: int) -> Iterator[str]:
    yield "x"


@gateway.wrap(
    cache=True, retry=Retry(max_attempts=2), rate_limit=RateLimit(requests="1/s"), timeout=Timeouts(total="1s")
)
async def async_generator(number: int) -> AsyncIterator[str]:
    yield "x"


class Box:
    @gateway.wrap
    def method(self, text: str) -> int:
        return 1

    @gateway.wrap(retry=2)
    async def later(self, text: str) -> int:
        return 1

    @gateway.wrap
    @staticmethod
    def outer_static(text: str) -> int:
        return 1

    @staticmethod
    @gateway.wrap
    def inner_static(text: str) -> int:
        return 1

    @gateway.wrap(retry=2)
    @classmethod
    def outer_class(cls, text: str) -> int:
        return 1

    @classmethod
    @gateway.wrap
    def inner_class(cls, text: str) -> int:
        return 1


async def decorated() -> None:
    assert_type(plain("a", loud=True), int)
    assert_type(optioned("a"), int)
    assert_type(await coroutine(number=1), list[str])
    assert_type(generator(1), Iterator[str])
    assert_type(async_generator(1), AsyncIterator[str])
    assert_type(Box().method("a"), int)
    assert_type(await Box().later("a"), int)
    assert_type(Box.outer_static("a"), int)
    assert_type(Box.inner_static("a"), int)
    assert_type(Box.outer_class("a"), int)
    assert_type(Box().inner_class("a"), int)


@gateway.wrap(capture=True, retry=2)
async def captured(number: int) -> Response:
    return await gateway.aio.chat("fast", str(number))


@gateway.wrap
def handed_on(number: int) -> Stream:
    return gateway.stream("fast", str(number))


async def captured_types() -> None:
    assert_type(await captured(1), Response)
    assert_type(handed_on(1), Stream)


text_of: Callable[[int], str] = gateway.wrap(lambda number: number * "a")
plain(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
plain("a", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
gateway.wrap(caches="1h")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
gateway.wrap(capture="yes")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
gateway.wrap(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
OpenAI(api_key=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
OpenAI(apikey="sk")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Retry(max_attempt=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
