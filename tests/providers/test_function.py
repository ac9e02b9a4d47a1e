"""A callable as a provider: what it may be, what it may return, and what its exceptions mean."""

from __future__ import annotations

import asyncio
import functools
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from llmgate import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    ContextWindowExceeded,
    DeadlineExceeded,
    Embeddings,
    Function,
    Gateway,
    GatewayError,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Response,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
    Usage,
)
from llmgate.providers.exceptions import FunctionFailed, classified
from llmgate.testing import ScriptedServer, anthropic_message, anthropic_stream, chat, embeddings, error, stream
from llmgate.types.response import Choice, Chunk

COMPLETION = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}  # fmt: skip
PIECES: list[dict[str, Any]] = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"content": "hel"}}]},
    {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
]


def both(function: Callable[..., Any], **params: Any) -> list[Response]:
    """The answers of a function in both colours, whole and as a stream."""
    with Function(function) as provider:
        found = [provider.chat("m", "hi", **params)]
        with provider.stream("m", "hi", **params) as reading:
            list(reading)
        found.append(reading.response)

    async def main() -> None:
        found.append(await provider.aio.chat("m", "hi", **params))
        async with provider.aio.stream("m", "hi", **params) as later:
            async for _ in later:
                pass
        found.append(later.response)

    asyncio.run(main())
    return found


class TestResults:
    @pytest.mark.parametrize(
        "result",
        [
            "hello", COMPLETION, Response(choices=[Choice(text="hello", finish_reason="stop")]),
            {"role": "assistant", "content": "hello"},
            {"type": "message", "content": [{"type": "text", "text": "hello"}], "role": "assistant", "stop_reason": "end_turn"},
            openai.types.chat.ChatCompletion.model_validate(COMPLETION),
        ],
        ids=["text", "dict", "Response", "message", "anthropic", "openai"],
    )  # fmt: skip
    def test_of_every_shape(self, result: Any) -> None:
        """
        Text, a Response, dicts of either language and the SDKs' objects are the same answer, in every colour and way.
        """
        assert [("hello", "stop")] * 4 == [(r.text, r.finish_reason) for r in both(lambda messages, **params: result)]

    def test_of_every_kind(self) -> None:
        """
        A function, a coroutine function, a generator and an async generator answer alike.
        """

        def plain(messages: Any) -> str:
            return "hello"

        async def coroutine(messages: Any) -> str:
            await asyncio.sleep(0)
            return "hello"

        def generator(messages: Any) -> Iterator[str]:
            yield "hel"
            yield "lo"

        async def async_generator(messages: Any) -> AsyncIterator[str]:
            yield "hel"
            await asyncio.sleep(0)
            yield "lo"

        def passing(messages: Any) -> Any:
            return async_generator(messages)

        for function in (plain, coroutine, generator, async_generator, passing, functools.partial(plain)):
            assert ["hello"] * 4 == [reply.text for reply in both(function)]

    @pytest.mark.parametrize("shape", ["dict", "object"])
    def test_pieces_of_the_sdks(self, shape: str) -> None:
        """
        OpenAI's chunks, as dicts or objects, fold into the answer they make, usage included.
        """

        def spoken(messages: Any) -> Iterator[Any]:
            for piece in PIECES:
                whole = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"} | piece
                yield piece if shape == "dict" else openai.types.chat.ChatCompletionChunk.model_validate(whole)

        for reply in both(spoken):
            assert ("hello", "stop", 3, 4) == (
                reply.text, reply.finish_reason, reply.usage.input_tokens, reply.usage.output_tokens,
            )  # fmt: skip

    def test_the_sdks_themselves(self) -> None:
        """
        The SDKs' own calls can be the function, whole and as a stream, plain and async.
        """
        with ScriptedServer() as server:

            @server.on
            def answer(request: Any) -> Any:
                asked = request.json()
                if "messages" in request.path:
                    return anthropic_stream(["hel", "lo"]) if asked.get("stream") else anthropic_message("hello")
                return stream(["hel", "lo"]) if asked.get("stream") else chat("hello")

            sync = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
            claude = anthropic.Anthropic(base_url=server.origin, api_key="k", max_retries=0)

            def of_openai(messages: Any, **params: Any) -> Any:
                return sync.chat.completions.create(model="m", messages=messages, **params)

            def of_anthropic(messages: Any, **params: Any) -> Any:
                return claude.messages.create(model="m", max_tokens=9, messages=messages, **params)

            async def later(messages: Any, **params: Any) -> Any:
                async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
                    return await client.chat.completions.create(model="m", messages=messages, **params)

            for function in (of_openai, of_anthropic):
                assert ["hello"] * 4 == [reply.text for reply in both(function)]
                assert ["hello"] * 4 == [
                    reply.text for reply in both(lambda messages, f=function, **params: f(messages, stream=True))
                ]
            assert ["hello"] * 4 == [reply.text for reply in both(later)]
            sync.close()
            claude.close()

    def test_what_is_no_answer(self) -> None:
        """
        Anything else is an error that says what was returned and what to return.
        """
        for result in (None, 7, {"a": 1}, [1], object()):
            with pytest.raises(UpstreamError, match=f"returned a {type(result).__name__}; return text"):
                Function(lambda messages, result=result: result).chat("m", "hi")
        with pytest.raises(UpstreamError, match="yielded a int; yield text"):
            list(Function(lambda messages: iter([7])).stream("m", "hi"))

    def test_cost_and_usage(self) -> None:
        """
        What a Response says about its tokens is counted, and priced by the configuration.
        """
        answer = Response(choices=[Choice(text="hello")], usage=Usage(1_000_000, 0))
        config = {"prices": {"asked/*": {"input": 3, "output": 3}}}
        with Gateway(config, providers=[Function(lambda messages: answer, name="asked")]) as gateway:
            assert Decimal(3) == gateway.chat("asked/m", "hi").cost

    def test_parameters(self) -> None:
        """
        The function gets the messages and every parameter of the call, and none of its options.
        """
        seen: list[Any] = []

        def ask(messages: Any, **params: Any) -> str:
            seen.append((messages, params))
            return "ok"

        with Gateway(providers=[Function(ask)]) as gateway:
            gateway.chat("ask", "hi", temperature=1, timeout=5, tenant="acme", tags={"a": "b"})
            gateway.complete("ask", "Once", suffix="x")

        assert [([{"role": "user", "content": "hi"}], {"temperature": 1}), ("Once", {"suffix": "x"})] == seen


class TestEmbedders:
    @pytest.mark.parametrize(
        "result",
        [
            [[1.0, 2.0]], ([1.0, 2.0],), Embeddings(vectors=[[1.0, 2.0]]), {"data": [{"embedding": [1.0, 2.0], "index": 0}]},
        ],
    )  # fmt: skip
    def test_of_every_shape(self, result: Any) -> None:
        """
        Lists, our own answer, and what the SDKs return are vectors.
        """
        provider = Function(embedder=lambda inputs, **params: result)

        assert [[1.0, 2.0]] == provider.embed("m", ["hi"]).vectors
        assert [[1.0, 2.0]] == asyncio.run(provider.aio.embed("m", ["hi"])).vectors  # type: ignore[arg-type]

    def test_arrays(self) -> None:
        """
        Arrays are what their tolist() says, whole or row by row.
        """

        class Array:
            def __init__(self, values: Any) -> None:
                self.values = values

            def tolist(self) -> Any:
                return self.values

        assert [[1.0]] == Function(embedder=lambda inputs: Array([[1.0]])).embed("m", "hi").vectors
        assert [[1.0]] == Function(embedder=lambda inputs: [Array([1.0])]).embed("m", "hi").vectors

    def test_the_sdk_itself(self) -> None:
        """
        OpenAI's own embeddings can be the function.
        """
        with ScriptedServer(embeddings([[0.5, 0.25]])) as server:
            client = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
            provider = Function(embedder=lambda inputs: client.embeddings.create(model="m", input=inputs))
            assert [[0.5, 0.25]] == provider.embed("m", ["hi"]).vectors
            client.close()

    def test_what_is_none(self) -> None:
        """
        Anything else is an error, and a provider without an embedder cannot embed.
        """
        for result in (None, "text", [1.0], [["a"], 3]):
            with pytest.raises(UpstreamError, match="embedder returned a"):
                Function(embedder=lambda inputs, result=result: result).embed("m", "hi")
        with pytest.raises(BadRequest, match="cannot 'embed'; it can chat, complete"):
            Function(lambda messages: "x").embed("m", "hi")
        with pytest.raises(BadRequest, match="cannot 'chat'; it can embed"):
            Function(embedder=lambda inputs: [[1.0]]).chat("m", "hi")


class TestFailures:
    def of(self, raised: Exception) -> GatewayError:
        with pytest.raises(GatewayError) as found:
            both(lambda messages: Raising(raised).go())
        return found.value

    def test_of_the_sdks(self) -> None:
        """
        The SDKs' errors are what the upstream said: status, sentence, wish, and whether another try makes sense.
        """
        no_money = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
        too_long = {"error": {"message": "too long", "code": "context_length_exceeded"}}
        busy = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
        with ScriptedServer() as server:
            client = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
            claude = anthropic.Anthropic(base_url=server.origin, api_key="k", max_retries=0)

            def ask(messages: Any) -> Any:
                return client.chat.completions.create(model="m", messages=messages)

            def ask_claude(messages: Any) -> Any:
                return claude.messages.create(model="m", max_tokens=9, messages=messages)

            for function, script, kind in (
                (ask, error(429, {"error": {"message": "slow"}}, {"retry-after": "7"}), RateLimited),
                (ask, error(429, no_money), QuotaExhausted),
                (ask, error(400, too_long), ContextWindowExceeded),
                (ask, error(401, {"error": {"message": "key", "code": "invalid_api_key"}}), AuthenticationFailed),
                (ask, error(500, {"error": {"message": "oops"}}), UpstreamError),
                (ask_claude, error(529, busy), Overloaded),
            ):
                server.answer(script)
                with pytest.raises(kind) as raised:
                    Function(function).chat("m", "hi")
                assert kind is type(raised.value)
                assert isinstance(raised.value.__cause__, openai.APIStatusError | anthropic.APIStatusError)
                assert kind is not RateLimited or raised.value.retry_after == 7.0
            client.close()
            claude.close()

    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (TimeoutError(), UpstreamTimeout), (httpx.ReadTimeout("slow"), UpstreamTimeout),
            (httpx2.ConnectTimeout("slow"), UpstreamTimeout), (ConnectionResetError(), ConnectionFailed),
            (httpx.ConnectError("no"), ConnectionFailed), (ValueError("mine"), FunctionFailed), (KeyError("x"), FunctionFailed),
            (openai.APITimeoutError(httpx2.Request("GET", "http://x")), UpstreamTimeout),
            (openai.APIConnectionError(request=httpx2.Request("GET", "http://x")), ConnectionFailed),
        ],
    )  # fmt: skip
    def test_of_others(self, raised: Exception, kind: type[GatewayError]) -> None:
        """
        Time-outs and lost connections are known in every library; anything else is the function's own failure.
        """
        found = self.of(raised)

        assert kind is type(found) and raised is found.__cause__

    def test_statuses_wherever_they_stand(self) -> None:
        """
        A status is found in the error, or in the response that it carries.
        """

        class Failed(Exception):
            def __init__(self, **fields: Any) -> None:
                self.__dict__.update(fields)

        class Answer:
            status_code, headers = 429, {"Retry-After": "3"}

        for raised in (Failed(status_code=429), Failed(code=429), Failed(status=429), Failed(response=Answer())):
            assert isinstance(classified(raised), RateLimited)
        assert 3.0 == classified(Failed(response=Answer())).retry_after
        assert isinstance(classified(Failed(status_code=200)), FunctionFailed)
        assert isinstance(classified(Failed(status_code=400, body={"error": object()})), BadRequest)

    def test_keys_are_not_repeated(self) -> None:
        """
        What an exception says is shown without what looks like a key.
        """
        assert "sk-very-secret-123" not in str(classified(ValueError("bad key sk-very-secret-123")))

    def test_our_own_mean_themselves(self) -> None:
        """
        A function may raise our errors to say what it means.
        """
        own = RateLimited("slow", retry_after=9)
        assert own is self.of(own)
        assert own.__cause__ is None

    def test_its_own_failure_is_final_and_others_may_help(self) -> None:
        """
        An exception that says nothing is not tried again with the same function; another deployment is asked.
        """
        calls: list[int] = []

        def broken(messages: Any) -> str:
            calls.append(1)
            raise ValueError("mine")

        config = {"routes": {"fast": ["broken/m", "spare/m"]}}
        with Gateway(config, providers=[Function(broken), Function(lambda messages: "spare", name="spare")]) as gateway:
            assert "spare" == gateway.chat("fast", "hi").text
            with pytest.raises(FunctionFailed, match="ValueError: mine"):
                gateway.chat("broken/m", "hi")
        assert [1, 1] == calls

    def test_in_the_middle_of_a_stream(self) -> None:
        """
        An exception after the first piece ends the stream with what it means.
        """

        def breaking(messages: Any) -> Iterator[str]:
            yield "hel"
            raise ConnectionResetError("gone")

        with Function(breaking).stream("m", "hi") as reading:
            assert "hel" == next(iter(reading)).text
        with pytest.raises((ConnectionFailed, StreamInterrupted)):
            list(Function(breaking).stream("m", "hi"))

    def test_the_deadline(self) -> None:
        """
        What takes too long ends with the call's time; async code is really stopped.
        """
        stopped: list[bool] = []

        async def slow(messages: Any) -> str:
            try:
                await asyncio.sleep(10)
            finally:
                stopped.append(True)
            return "late"

        with pytest.raises(DeadlineExceeded):
            Function(slow).chat("m", "hi", timeout=0.05)
        with pytest.raises(DeadlineExceeded):
            asyncio.run(Function(slow).aio.chat("m", "hi", timeout=0.05))  # type: ignore[arg-type]
        assert [True, True] == stopped

        async def silent(messages: Any) -> AsyncIterator[str]:
            try:
                await asyncio.sleep(10)
                yield "late"
            finally:
                stopped.append(True)

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(DeadlineExceeded):
                list(Function(silent).stream("m", "hi", timeout=0.05))
            gc.collect()
        assert ([True] * 3, []) == (stopped, [str(warning.message) for warning in told])


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def go(self) -> str:
        raise self.error


class TestNames:
    def test_the_functions_own(self) -> None:
        """
        Its name is the function's, if that can be one, or what it is given.
        """

        def ask(messages: Any) -> str:
            return "x"

        assert ["ask", "function", "function", "mine"] == [
            Function(ask).label(),
            Function(lambda messages: "x").label(),
            Function(functools.partial(ask)).label(),
            Function(ask, name="mine").label(),
        ]

    def test_chunks_pass(self) -> None:
        """
        A function may speak in our own chunks, with tools and everything.
        """

        def spoken(messages: Any) -> Iterator[Chunk]:
            yield Chunk(reasoning="hm")
            yield Chunk(text="hello", finish_reason="stop")
            yield Chunk(usage=Usage(1, 2), index=-1)

        for reply in both(spoken):
            assert ("hello", "hm", "stop", 2) == (
                reply.text,
                reply.reasoning,
                reply.finish_reason,
                reply.usage.output_tokens,
            )
