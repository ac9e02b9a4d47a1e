"""The gateway for other languages: an ASGI application, for any server that speaks ASGI 3.

It converts and nothing more: a request becomes an `Asked`, an `Answered` becomes messages, and what happens between the
two is the same as under an SDK's transport. It is written against the protocol itself, which is three callables; a
framework would add its own routing, and errors in a shape that no SDK reads.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html (checked 2026-11-21).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..config.server import ServerSettings
from ..dialects import dialect_named
from ..dialects.base import Dialect
from ..errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    CredentialError,
    GatewayClosed,
    GatewayError,
    PermissionDenied,
)
from ..telemetry.prometheus import Requests
from .answered import Answered, refused
from .asked import Asked, key_apart
from .conversation import CLOSE, Conversation, Gone, Message, Receive, Send
from .exchange import ROUTE, Exchange
from .gate import Gate, check_target
from .reports import METRICS, REPORTS, Reports
from .spoken import Spoken, spoken

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["GatewayApp"]

SPOKEN = ("GET", "POST")
"""Methods of what is read."""
PASSING = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""Methods that may pass through unread."""

CHALLENGE = (b"www-authenticate", b"Bearer")
PREFLIGHT_S = b"600"  # seconds that a browser may remember what it may do; Chromium took no more until version 76
BROKEN = "something broke in the gateway"


class GatewayApp:
    """
    Answers HTTP requests through one gateway.

    Args:
        settings: Who may ask, and how much.
        trusted: Whether somebody else has looked at the callers already.
        hosts: Names by which callers without keys may find us; any, if there are none.

    Raises:
        ConfigError: If the keys cannot be used.
    """

    def __init__(
        self, gateway: Gateway, settings: ServerSettings, *, trusted: bool = False, hosts: Collection[str] = ()
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._exchange = Exchange(gateway)
        self._gate = Gate(settings, trusted, hosts)
        self.requests = Requests()
        self.reports = Reports(gateway, self.requests)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": f"{scope['type']}.close"})  # nothing is spoken over WebSockets

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._gateway._current().prices.load()  # the first answer must not pay for it
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._gateway.aio.close(self._settings.drain)
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        self._gateway._stats.counts_cost = True
        conversation = Conversation(scope, receive, send, self._settings)
        requests = self.requests
        requests.in_flight += 1
        try:
            await self._converse(conversation)
        except Gone:
            pass  # and nobody is there who could be told
        finally:
            requests.in_flight -= 1
            requests.add(conversation.status, time.monotonic() - began)

    async def _converse(self, conversation: Conversation) -> None:
        asked = conversation.asked
        self._allow_page(conversation)
        method = "GET" if asked.method == "HEAD" else asked.method
        words = spoken(method, asked.path, asked.query, asked.named)
        try:
            answered = await self._answer(conversation, words)
        except Gone:
            raise
        except Exception as error:
            fault = isinstance(error, ConfigError) or not isinstance(error, GatewayError)
            told = error if isinstance(error, GatewayError) and not fault else GatewayError(BROKEN)
            # The status is ours to say; of the dialects each knows its own alone.
            answered = refused(told, _dialect(asked, words), True)
            if isinstance(error, AuthenticationFailed):
                conversation.more.append(CHALLENGE)
            if fault:
                # Whoever runs the server is told what it was, the client that it was.
                await conversation.send(answered)
                raise
        await conversation.send(answered)

    def _allow_page(self, conversation: Conversation) -> None:
        origin = conversation.asked.header(b"origin")
        if origin is not None and self._gate.allows(origin):
            conversation.more += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-expose-headers", b"*"),
                (b"vary", b"origin"),
            ]

    async def _answer(self, conversation: Conversation, words: Spoken) -> Answered:
        """
        Raises:
            GatewayError: Whatever is to be said in the caller's dialect.
            Gone: If there is nobody to say it to.
        """
        asked = conversation.asked
        check_target(asked)
        if asked.method == "OPTIONS" and (methods := _methods(asked)):
            return _options(conversation, methods)
        if asked.path in REPORTS:
            return self._report(conversation)
        if "key=" in asked.query:
            asked = conversation.asked = key_apart(asked)
        asked.caller = self._gate.admit(asked, conversation.client)
        self._gate.without_keys(asked)
        if words.verb == "request":
            methods = [] if ROUTE in asked.named and asked.method in PASSING else _methods(asked)
            if methods or (ROUTE in asked.named and asked.method not in PASSING):
                raise _no_such_method(conversation, methods or sorted(PASSING))
        if self.reports.draining:
            conversation.more.append(CLOSE)
            raise GatewayClosed("the server is stopping; ask another one", retry_after=1.0)
        asked.body = await conversation.body()
        if asked.method == "HEAD":
            asked.method = "GET"
        return await conversation.unless_gone(self._exchange.answer(self._gateway._asyncio, asked))

    def _report(self, conversation: Conversation) -> Answered:
        asked = conversation.asked
        if asked.method not in ("GET", "HEAD"):
            raise _no_such_method(conversation, _methods(asked))
        is_operator = False
        try:
            caller = self._gate.admit(asked, conversation.client)
            is_operator = caller is None or caller.operator
        except CredentialError:
            if asked.path == METRICS:
                raise
        if asked.path == METRICS and not is_operator:
            raise PermissionDenied("this key is not an operator's")
        return self.reports.answer(asked.path, is_operator)


def _dialect(asked: Asked, words: Spoken) -> Dialect:
    """The caller's dialect; what means nothing by its method may by another one."""
    methods = _methods(asked) if words.verb == "request" else []
    for method in methods[:1]:
        words = spoken(method, asked.path, asked.query, asked.named)
    return dialect_named(words.dialect)


def _options(conversation: Conversation, methods: list[str]) -> Answered:
    """What may be done at an address; a web page's browser asks before the page may."""
    named = conversation.asked.named
    conversation.more.append((b"allow", ", ".join([*methods, "OPTIONS"]).encode()))
    if (method := named.get(b"access-control-request-method")) is not None:
        conversation.more += [
            (b"access-control-allow-methods", method),
            (b"access-control-allow-headers", named.get(b"access-control-request-headers", b"")),
            (b"access-control-max-age", PREFLIGHT_S),
        ]
    return Answered(204, [], b"")


def _methods(asked: Asked) -> list[str]:
    """The methods that mean something at a path; of what passes through unread nobody here knows."""
    if asked.path in REPORTS:
        return ["GET", "HEAD"]
    found = [method for method in SPOKEN if spoken(method, asked.path, asked.query, asked.named).verb != "request"]
    return [*found, "HEAD"] if "GET" in found else found


def _no_such_method(conversation: Conversation, methods: list[str]) -> BadRequest:
    conversation.more.append((b"allow", ", ".join(methods).encode()))
    return BadRequest(f"{conversation.asked.method} cannot be asked of this address", status=405)
