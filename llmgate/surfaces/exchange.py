"""One text for everybody who speaks HTTP to the gateway: a request comes in as plain values, an answer goes out so.

The caller's dialect reads the request and writes the answer, the pipeline does the rest. Whoever has the bytes (a
transport under an SDK, an ASGI app) makes an `Asked` of them and sends an `Answered` back, piece by piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..dialects import dialect_named
from ..dialects.base import Dialect
from ..errors import BadRequest, ConfigError, DeadlineExceeded, GatewayError, ModelNotFound, PermissionDenied
from ..policies.keyring import Caller
from ..runtime.edge import discovered
from ..types.call import Call
from ..types.response import Model, Models
from ..types.runtime import Runtime
from ..types.wire import encode
from .answered import Answered, passed, plain, refused, streamed, whole
from .asked import Asked, is_readable, key_apart, options_of, read, unread
from .spoken import Spoken, spoken
from .upstreams import Upstreams

if TYPE_CHECKING:
    from ..config.pipeline import Pipeline
    from ..gateway import Gateway
    from ..middleware.attempts import Route

__all__ = ["Exchange"]

ROUTE = b"x-llmgate-route"

HEAVY = frozenset({"image", "speak", "transcribe"})
"""Verbs of files, which a client's own upstream is asked unread: byte for byte, and as they come."""
STREAMS = frozenset({"chat", "complete"})
MODELLESS = frozenset({"models", "request"})
"""Verbs that are asked of a provider, whatever models it has."""


class Exchange:
    """Answers what HTTP brings, through one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._dialects: dict[str, Dialect] = {}
        self._upstreams: Upstreams | None = None

    async def answer(self, runtime: Runtime, asked: Asked) -> Answered:
        """
        The answer to a request. Whatever goes wrong is an answer, too, in the caller's dialect.

        Raises:
            ConfigError: If the gateway cannot be used as it is configured; that is nobody's answer.
        """
        words = spoken(asked.method, asked.path, asked.query, asked.named)
        dialect = self._dialect(words.dialect)
        if not self._reads(dialect, words, asked):
            words = Spoken(words.dialect, "request")
        call: Call | None = None
        try:
            if words.dialect.startswith("gemini"):
                asked = key_apart(asked)
            if words.verb == "models" and ROUTE not in asked.named:
                return plain(encode(dialect.write_response(await self._models(runtime, asked.caller))))
            call = self._call(runtime, asked, words, dialect)
            reply = await self._gateway._open(call)
            if call.request.verb == "request":
                return passed(reply, call)
            return streamed(reply, call, dialect) if call.request.stream else await whole(reply, call, dialect)
        except ConfigError:
            raise
        except GatewayError as error:
            answered = refused(error, dialect, "request" in (words.verb, call and call.request.verb))
            if isinstance(error, DeadlineExceeded) and call is not None and asked.timeout_s is not None:
                answered.timed_out = call.deadline == call.started + asked.timeout_s
            return answered

    def _dialect(self, name: str) -> Dialect:
        dialect = self._dialects.get(name)
        if dialect is None:
            dialect = self._dialects[name] = dialect_named(name)
        return dialect

    def _reads(self, dialect: Dialect, words: Spoken, asked: Asked) -> bool:
        """Whether the request is read, or passes through."""
        if words.verb == "models" and asked.origin:
            return False  # whoever stands at the client's address knows best what it offers, and in which format
        return words.verb in dialect.verbs and is_readable(asked, words)

    def _call(self, runtime: Runtime, asked: Asked, words: Spoken, dialect: Dialect) -> Call:
        """The call that the request asks for, and its way."""
        gateway = self._gateway
        upstreams = self._upstreams_of(gateway._current())
        request = unread(asked) if words.verb == "request" else read(asked, words, dialect)
        name = asked.header(ROUTE) or request.model or words.model
        request.model = ""
        if not asked.origin and not name:
            raise _nobody(asked, words)
        way = upstreams.configured(name, asked, words)
        if way is None and asked.origin:
            if words.verb in HEAVY:
                request = unread(asked)
            way = upstreams.own(request, name, asked, words)
        elif way is not None and words.verb == "request":
            request.path = upstreams.below(way, asked)
        elif request.stream and words.verb not in STREAMS:
            raise BadRequest(f"stream: {words.verb} gives its answer in one piece; leave it out")
        if asked.caller is not None:
            _permit(asked.caller, name, words, way)
        call = gateway._door.call(runtime, name, request, options_of(asked, gateway._door.scope))
        call.way = way
        if asked.timeout_s is not None and not request.stream:
            call.deadline = min(call.deadline, call.started + asked.timeout_s)
        return call

    def _upstreams_of(self, pipeline: Pipeline) -> Upstreams:
        upstreams = self._upstreams
        if upstreams is None or upstreams.pipeline is not pipeline:
            upstreams = self._upstreams = Upstreams(pipeline)
        return upstreams

    async def _models(self, runtime: Runtime, caller: Caller | None) -> Models:
        """Every name that a client can ask for: the routes, and what the providers offer as `provider/model`."""
        found = await self._offered(runtime)
        if caller is not None:
            found.data = [model for model in found.data if caller.may_ask(model.id)]
        return found

    async def _offered(self, runtime: Runtime) -> Models:
        gateway = self._gateway
        pipeline = gateway._current()
        found = Models(data=[Model(name, provider="llmgate") for name in pipeline.routes])
        try:
            offered = await discovered(gateway._door, runtime, pipeline.provider_names())
        except GatewayError:
            if not found.data:
                raise
            return found
        for model in offered.data:
            model.id = f"{model.provider}/{model.id}"
        found.data += offered.data
        return found


def _permit(caller: Caller, name: str, words: Spoken, way: Route | None) -> None:
    """
    Raises:
        PermissionDenied: If the caller's key is not for this.
    """
    if words.verb not in MODELLESS:
        if not caller.may_ask(name):
            raise PermissionDenied(f"this key is not for {name!r}; ask whoever gave it to you")
    elif not caller.may_use({candidate.deployment.provider for candidate in way.candidates} if way else {name}):
        raise PermissionDenied(f"this key may not ask all of {name!r}; ask whoever gave it to you")


def _nobody(asked: Asked, words: Spoken) -> GatewayError:
    if words.verb == "request":
        return ModelNotFound(
            f"{asked.method} {asked.path} passes through unread, and it was not said to whom; "
            "name a provider in the header x-llmgate-route"
        )
    return BadRequest("model: missing; name a route, or provider/model")
