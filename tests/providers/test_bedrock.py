"""Amazon behind HTTP: what goes to which address, how it is signed, and what comes back."""

from __future__ import annotations

import hmac
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from llmgate import Gateway
from llmgate.dialects.aws_frames import framed
from llmgate.errors import (
    AuthenticationFailed,
    ConfigError,
    ModelNotFound,
    Overloaded,
    RateLimited,
    StreamInterrupted,
)
from llmgate.providers.bedrock import Bedrock
from llmgate.testing import ScriptedServer, http_response, http_stream
from llmgate.types.wire import dumps
from tests.conftest import Colour

ROOT = Path(__file__).parents[2]
KEY_ID, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BEARER = "bedrock-api-key-of-a-test"
MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"


def said(text: str, **more: Any) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 4, "outputTokens": 2, "totalTokens": 6},
        "metrics": {"latencyMs": 1},
    } | more


def event(kind: str, data: Any) -> bytes:
    return framed({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, dumps(data))


def exception(name: str, message: str) -> bytes:
    return framed({":exception-type": name, ":message-type": "exception"}, dumps({"message": message}))


def streamed(*texts: str) -> list[bytes]:
    deltas = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in texts]
    stop = event("messageStop", {"stopReason": "end_turn"})
    usage = {"usage": {"inputTokens": 4, "outputTokens": 2, "totalTokens": 6}, "metrics": {"latencyMs": 1}}
    return [event("messageStart", {"role": "assistant"}), *deltas, stop, event("metadata", usage)]


def as_stream(pieces: list[bytes], **more: Any) -> Any:
    return http_stream(pieces, content_type="application/vnd.amazon.eventstream", **more)


def failed(status: int, name: str, message: str) -> Any:
    return http_response(status, {"message": message}, headers={"x-amzn-errortype": f"{name}:http://amazon/"})


def config(server: ScriptedServer, **options: Any) -> dict[str, Any]:
    given = options or {"access_key_id": KEY_ID, "secret_access_key": KEY}
    return {
        "providers": {"amazon": {"kind": "bedrock", "base_url": server.origin, "region": "us-east-1"} | given},
        "routes": {"fast": [f"amazon/{MODEL}"]},
        "retry": {"base_delay": 0, "max_delay": 0, "max_attempts": 2},
    }


# --- the signature ----------------------------------------------------------------------------------------------------


def signature(
    method: str, path: str, headers: Mapping[str, str], signed: str, body: bytes, scope: str, key: str = KEY
) -> str:
    """
    Signature Version 4 as it is described.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed.split(";"))
    canonical = "\n".join([method, quote(path, safe="/-._~"), "", lines, signed, sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, sha256(canonical.encode()).hexdigest()])
    secret = f"AWS4{key}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), sha256)
    return hmac.digest(secret, text.encode(), sha256).hex()


def test_the_description_is_followed() -> None:
    """
    What these tests compute is what Amazon's own example (`get-vanilla` of its test suite) says.
    """
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
    scope = "20150830/us-east-1/service/aws4_request"

    told = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    assert told == signature("GET", "/", headers, "host;x-amz-date", b"", scope)


def proven(request: Any) -> dict[str, str]:
    """The parts of a request's signature, once that is found right."""
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    parts = dict(part.split("=", 1) for part in rest.split(", "))
    scope = parts["Credential"].partition("/")[2]
    assert "AWS4-HMAC-SHA256" == algorithm
    assert parts["Signature"] == signature(
        request.method, request.path, request.headers, parts["SignedHeaders"], request.body, scope
    )
    return parts


def test_signs_what_it_sends(colour: Colour, server: ScriptedServer) -> None:
    """
    The signature covers the path as it is sent, the body, the host and the time; the key goes nowhere.
    """
    server.answer(http_response(200, said("hi")))

    reply = colour.chat(colour.gateway(config(server)), "fast", "hello", temperature=0)

    assert ("hi", "stop", 4, 2, MODEL) == (
        reply.text,
        reply.finish_reason,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
        reply.model,
    )
    request = server.requests[0]
    assert ("POST", f"/model/{quote(MODEL, safe='')}/converse") == (request.method, request.path)
    assert {
        "inferenceConfig": {"temperature": 0},
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
    } == request.json()
    parts = proven(request)
    assert "content-type;host;x-amz-date" == parts["SignedHeaders"]
    day = request.headers["x-amz-date"][:8]
    assert f"{KEY_ID}/{day}/us-east-1/bedrock/aws4_request" == parts["Credential"]
    assert KEY not in str(request.headers)


@pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
def test_every_engine_sends_what_was_signed(colour: Colour, server: ScriptedServer, engine: str) -> None:
    """
    Whoever sends, the path and the headers arrive as they were signed.
    """
    pytest.importorskip(engine)
    server.answer(http_response(200, said("hi")))

    colour.chat(colour.gateway(config(server) | {"http": {"engine": engine}}))

    proven(server.requests[0])


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_client_of_the_callers_sends_what_was_signed(server: ScriptedServer, library: str) -> None:
    """
    A client that the caller brought leaves the signed path and headers alone.
    """
    client = pytest.importorskip(library).Client()
    options: Any = {"access_key_id": KEY_ID, "secret_access_key": KEY, "http_client": client}
    server.answer(http_response(200, said("hi")))

    with client, Bedrock(base_url=server.origin, region="us-east-1", **options) as bedrock:
        bedrock.chat(MODEL, "hello")

    proven(server.requests[0])


def test_a_session_token_travels_and_is_signed(server: ScriptedServer) -> None:
    """
    The token of a key that lives for hours stands in its header, covered by the signature.
    """
    server.answer(http_response(200, said("hi")))

    with Gateway(config(server, access_key_id=KEY_ID, secret_access_key=KEY, session_token="a/token==")) as gateway:
        gateway.chat("fast", "hello")

    request = server.requests[0]
    assert "x-amz-security-token" in proven(request)["SignedHeaders"].split(";")
    assert "a/token==" == request.headers["x-amz-security-token"]


def test_an_arn_is_one_step_of_the_path(server: ScriptedServer) -> None:
    """
    The slashes and colons of an ARN are written as such, and signed as they are written.
    """
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
    server.answer(http_response(200, said("hi")))

    with Bedrock(base_url=server.origin, region="us-east-1", access_key_id=KEY_ID, secret_access_key=KEY) as bedrock:
        bedrock.chat(arn, "hello")

    request = server.requests[0]
    assert f"/model/{quote(arn, safe='')}/converse" == request.path
    proven(request)


def test_credentials_are_asked_for_when_it_sends(server: ScriptedServer) -> None:
    """
    A function is asked for each request anew; one that fails is a failed authentication, without a request.
    """
    ids = iter(["FIRST", "SECOND"])
    server.answer(http_response(200, said("a")), http_response(200, said("b")))

    def ask() -> Any:
        return SimpleNamespace(access_key=next(ids), secret_key=KEY, token=None)

    with Bedrock(base_url=server.origin, region="eu-west-1", aws_credentials=ask) as bedrock:
        answers = [bedrock.chat(MODEL, "hello").text for _ in range(2)]
        with pytest.raises(AuthenticationFailed, match="StopIteration"):
            bedrock.chat(MODEL, "hello")

    assert ["a", "b"] == answers
    named = [proven(request)["Credential"].partition("/")[0] for request in server.requests]
    assert ["FIRST", "SECOND"] == named


def test_credentials_that_are_none_are_told_of(server: ScriptedServer) -> None:
    """
    What a function returns in place of credentials is a failed authentication, and is sent nowhere.
    """
    with (
        Bedrock(base_url=server.origin, region="eu-west-1", aws_credentials=lambda: None) as bedrock,
        pytest.raises(AuthenticationFailed, match="NoCredentialsError"),
    ):
        bedrock.chat(MODEL, "hello")

    assert [] == server.requests


def test_a_second_attempt_is_signed_anew(colour: Colour, server: ScriptedServer) -> None:
    """
    Every attempt carries a signature of its own, and both are right.
    """
    server.answer(failed(503, "ServiceUnavailableException", "busy"), http_response(200, said("hi")))

    reply = colour.chat(colour.gateway(config(server)))

    assert ["overloaded", "ok"] == [attempt.outcome for attempt in reply.attempts]
    assert all(proven(request) for request in server.requests)


def test_a_bearer_key_needs_no_signature(colour: Colour, server: ScriptedServer) -> None:
    """
    A bearer key travels as it is, and nothing is signed.
    """
    server.answer(http_response(200, said("hi")))

    colour.chat(colour.gateway(config(server, api_key=BEARER)))

    request = server.requests[0]
    assert f"Bearer {BEARER}" == request.headers["authorization"]
    assert "x-amz-date" not in request.headers


# --- streams and the rest ---------------------------------------------------------------------------------------------


def test_streams(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream is asked for at its own address, and its usage is read although it follows the end.
    """
    server.answer(as_stream(streamed("Hel", "lo")))

    stream, chunks = colour.read(colour.gateway(config(server)), "fast", "hello")

    read = stream.response
    assert ["Hel", "lo"] == [chunk.text for chunk in chunks if chunk.text]
    assert ("Hello", "stop", 4, 2) == (
        read.text,
        read.finish_reason,
        read.usage.input_tokens,
        read.usage.output_tokens,
    )
    request = server.requests[0]
    assert request.path.endswith("/converse-stream")
    proven(request)


def test_an_exception_before_the_text_is_asked_again(colour: Colour, server: ScriptedServer) -> None:
    """
    An exception in place of the first text is an error of the attempt, and another attempt repairs it.
    """
    start = event("messageStart", {"role": "assistant"})
    server.answer(
        as_stream([start, exception("serviceUnavailableException", "busy")]),
        as_stream(streamed("hi")),
    )

    stream, _ = colour.read(colour.gateway(config(server)), "fast", "hello")

    assert "hi" == stream.response.text
    assert ["overloaded", "ok"] == [attempt.outcome for attempt in stream.response.attempts]


@pytest.mark.parametrize("rest", [[], [exception("throttlingException", "slow down")]])
def test_a_stream_that_breaks_off_is_no_answer(colour: Colour, server: ScriptedServer, rest: list[bytes]) -> None:
    """
    A stream without `messageStop` is an error, whatever came before, also if its body ended well.
    """
    server.answer(as_stream([*streamed("Hel")[:2], *rest]))

    with pytest.raises((StreamInterrupted, RateLimited)) as caught:
        colour.read(colour.gateway(config(server)), "fast", "hello")

    assert (RateLimited if rest else StreamInterrupted) is type(caught.value)


def test_errors_are_told_by_their_names(colour: Colour, server: ScriptedServer) -> None:
    """
    An unknown model, a busy model and a foreign key are three things, whatever their statuses are.
    """
    server.answer(
        failed(400, "ValidationException", "The provided model identifier is invalid."),
        failed(429, "ModelNotReadyException", "not ready"),
        failed(429, "ModelNotReadyException", "not ready"),
        failed(403, "UnrecognizedClientException", f"no such key {KEY_ID}"),
    )
    gateway = colour.gateway(config(server))

    with pytest.raises(ModelNotFound):
        colour.chat(gateway)
    with pytest.raises(Overloaded):
        colour.chat(gateway)
    with pytest.raises(AuthenticationFailed) as caught:
        colour.chat(gateway)

    assert KEY_ID not in str(caught.value)


def test_embeds(colour: Colour, server: ScriptedServer) -> None:
    """
    Embeddings are asked of the model itself, in the words of its maker.
    """
    server.answer(http_response(200, {"embedding": [0.5, 1], "inputTextTokenCount": 3}))
    gateway = colour.gateway(config(server))

    answer = colour.ask(gateway, "embed", "amazon/amazon.titan-embed-text-v2:0", "a", dimensions=256)

    assert ([[0.5, 1]], 3) == (answer.vectors, answer.usage.input_tokens)
    assert "/model/amazon.titan-embed-text-v2%3A0/invoke" == server.requests[0].path
    assert {"inputText": "a", "dimensions": 256} == server.requests[0].json()


# --- configuration ----------------------------------------------------------------------------------------------------

SIGNING = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY}


@pytest.mark.parametrize(
    "environ", [SIGNING, SIGNING | {"AWS_SESSION_TOKEN": "t"}, {"AWS_BEARER_TOKEN_BEDROCK": BEARER}]
)
@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_environment_is_enough(environ: dict[str, str], variable: str) -> None:
    """
    With region and credentials in the environment a section needs nothing, and shows no key.
    """
    gateway = Gateway({"providers": {"bedrock": {}}}, environ=environ | {variable: "eu-central-1"})

    assert KEY not in repr(gateway)
    assert BEARER not in repr(gateway)
    gateway.close()


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "bedrock-runtime.eu-central-1.amazonaws.com"),
        ("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_stands_in_its_region(region: str, host: str) -> None:
    """
    The address follows from the region.
    """
    assert (f"https://{host}:443", "") == Bedrock(region=region, api_key=BEARER).place()


@pytest.mark.parametrize(
    ("options", "environ", "told"),
    [
        ({"api_key": BEARER}, {}, "region is missing"),
        ({"api_key": BEARER}, {"AWS_REGION": "evil.example/"}, "AWS_REGION is no name of a region"),
        ({"region": "us-east-1"}, {}, "no credentials; set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID"),
        ({"region": "us-east-1"}, {"AWS_ACCESS_KEY_ID": KEY_ID}, "no credentials"),
        ({"region": "us-east-1", "access_key_id": KEY_ID}, SIGNING, "belong together"),
        ({"region": "us-east-1", "session_token": "t"}, SIGNING, "belong together"),
        (
            {"region": "us-east-1"},
            SIGNING | {"AWS_SESSION_TOKEN": "a\nb"},
            "AWS_SESSION_TOKEN: the key holds a line break",
        ),
        ({"region": "us-east-1", "api_key": BEARER, "secret_access_key": KEY}, {}, "not both"),
        ({"region": "us-east-1", "base_url": "https://proxy.example"}, SIGNING, "not its usual address"),
        (
            {"base_url": "https://proxy.example", "access_key_id": KEY_ID, "secret_access_key": KEY},
            {},
            "region is missing",
        ),
    ],
)
def test_what_is_missing_is_said_at_once(options: dict[str, Any], environ: dict[str, str], told: str) -> None:
    """
    A gateway that could not ask is not built, and says what it lacks without showing what it has.
    """
    with pytest.raises(ConfigError, match=told) as caught:
        Gateway({"providers": {"bedrock": options}, "routes": {"r": ["bedrock/m"]}}, environ=environ)

    assert KEY not in str(caught.value)


def test_nothing_of_a_provider_shows_its_keys() -> None:
    """
    Neither its text nor what it dumps shows a key or a token.
    """
    bedrock = Bedrock(region="us-east-1", access_key_id=KEY_ID, secret_access_key=KEY, session_token="hidden-token")

    for shown in (
        repr(bedrock),
        str(bedrock.model_dump()),
        bedrock.model_dump_json(),
        repr(bedrock.credential(bedrock.secrets()[0], bedrock.origin())),
    ):
        assert KEY not in shown
        assert "hidden-token" not in shown


def test_bearer_keys_need_no_botocore() -> None:
    """
    Without botocore a bearer key works, and keys to sign with are refused at once, naming the extra.
    """
    code = """
import sys
sys.modules["botocore"] = None
from llmgate import ConfigError, Gateway
bedrock = {"kind": "bedrock", "region": "us-east-1"}
Gateway({"providers": {"aws": bedrock | {"api_key": "bearer"}}}).close()
try:
    Gateway({"providers": {"aws": bedrock | {"access_key_id": "AKID", "secret_access_key": "secret"}}})
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert "llmgate[bedrock]" in done.stdout, done.stderr


# --- the other APIs ---------------------------------------------------------------------------------------------------


def test_invokes_models_in_their_makers_words(server: ScriptedServer) -> None:
    """
    With `api: invoke` a completion goes to InvokeModel, and what its body does not count stands in Amazon's headers.
    """
    counted = {"x-amzn-bedrock-input-token-count": "5", "x-amzn-bedrock-output-token-count": "7"}
    mistral = {"outputs": [{"text": " there", "stop_reason": "stop"}]}
    server.answer(http_response(200, mistral, headers=counted))

    with Bedrock(base_url=server.origin, region="us-east-1", api_key=BEARER, api="invoke") as bedrock:
        reply = bedrock.complete("mistral.mistral-7b-instruct-v0:2", "Hello", max_tokens=3)

    assert (" there", "stop", 5, 7) == (
        reply.text,
        reply.finish_reason,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )
    assert "/model/mistral.mistral-7b-instruct-v0%3A2/invoke" == server.requests[0].path
    assert {"prompt": "Hello", "max_tokens": 3} == server.requests[0].json()


def test_what_the_body_counts_is_not_counted_again(server: ScriptedServer) -> None:
    """
    Headers fill what a body leaves open and nothing else; what came out of the cache is a part of what was read.
    """
    headers = {
        "x-amzn-bedrock-input-token-count": "4", "x-amzn-bedrock-output-token-count": "7",
        "x-amzn-bedrock-cache-read-input-token-count": "2", "x-amzn-bedrock-cache-write-input-token-count": "1",
    }  # fmt: skip
    whole = said("hi")
    open_ended = said("hi", usage={"inputTokens": 4})
    uncounted = said("hi", usage={})
    server.answer(*(http_response(200, body, headers=headers) for body in (whole, open_ended, uncounted)))

    with Bedrock(base_url=server.origin, region="us-east-1", api_key=BEARER) as bedrock:
        usages = [bedrock.chat(MODEL, "hello").usage for _ in range(3)]

    assert [(4, 2), (7, 7), (7, 7)] == [(usage.input_tokens, usage.output_tokens) for usage in usages]
    assert [None, 2, 2] == [usage.cache_read_tokens for usage in usages]


def test_streams_what_a_maker_streams(colour: Colour, server: ScriptedServer) -> None:
    """
    Claude's own events come inside of Amazon's, from an address of their own.
    """
    start = {"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 4, "output_tokens": 1}}
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    server.answer(as_stream([event("chunk", {"bytes": b64encode(dumps(one)).decode(), "p": "abc"}) for one in events]))

    stream, _ = colour.read(colour.gateway(config(server, api_key=BEARER, api="invoke")), "fast", "hello")

    reply = stream.response
    assert ("Hello", "stop", 4, 2) == (
        reply.text,
        reply.finish_reason,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )
    assert f"/model/{quote(MODEL, safe='')}/invoke-with-response-stream" == server.requests[0].path
    assert "bedrock-2023-05-31" == server.requests[0].json()["anthropic_version"]


@pytest.mark.parametrize(("api", "path"), [("chat", "/chat/completions"), ("responses", "/responses")])
def test_openais_apis_stand_beside_amazons(server: ScriptedServer, api: Any, path: str) -> None:
    """
    OpenAI's own models on Bedrock are asked in OpenAI's words, with Amazon's keys.
    """
    answers = {
        "chat": {"id": "c", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]},
        "responses": {
            "id": "r", "object": "response", "status": "completed", "model": "m",
            "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}],
        },
    }  # fmt: skip
    server.answer(http_response(200, answers[api]))
    keys: Any = {"access_key_id": KEY_ID, "secret_access_key": KEY}

    with Bedrock(base_url=f"{server.origin}/openai/v1", region="us-east-1", api=api, **keys) as bedrock:
        reply = bedrock.chat("openai.gpt-oss-120b-1:0", "hello")

    assert "hi" == reply.text
    assert f"/openai/v1{path}" == server.requests[0].path
    proven(server.requests[0])
    assert ("https://bedrock-runtime.us-east-1.amazonaws.com:443", "/openai/v1") == Bedrock(
        region="us-east-1", api=api, api_key=BEARER
    ).place()


def test_each_api_can_what_it_can() -> None:
    """
    Text completions need `invoke`, and OpenAI's APIs on Bedrock have no embeddings.
    """
    able = {api: Bedrock(region="us-east-1", api=api, api_key=BEARER).capabilities() or set() for api in APIS}

    assert ["invoke"] == [api for api in APIS if "complete" in able[api]]
    for verb in ("embed", "count_tokens"):
        assert ["converse", "invoke"] == [api for api in APIS if verb in able[api]]
    assert all("chat" in able[api] for api in APIS)


APIS: tuple[Any, ...] = ("converse", "invoke", "chat", "responses")
