"""Who answers somebody's own client: a route, `provider/model`, the provider at the client's address, or that address.

A client's key goes to the client's own upstream and to nobody else, and so do its headers. That upstream is a
deployment like any other, with a breaker and limits that live on: the same for every client that has the same
address, base path, format and key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ..config.pipeline import Pipeline
from ..config.short_forms import CHAIN_ROUTE
from ..errors import BadRequest, ConfigError
from ..middleware.attempts import Candidate, Route
from ..providers.http import HTTPProvider
from ..providers.own import OwnUpstream
from ..types.request import Request
from ..types.secret import Secret
from .asked import Asked
from .spoken import Spoken

__all__ = ["Upstreams"]

KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where clients put their keys."""

SIGNED = b"AWS4-"  # what the value begins with where it is no key, but a signature of most that is sent

HOP = frozenset(
    {
        b"host", b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"te", b"trailer", b"upgrade",
        b"expect", b"proxy-authorization", b"proxy-connection", b"accept-encoding",
    }
)  # fmt: skip
"""Headers that say how a request travels; whoever sends writes its own."""

OURS = b"x-llmgate-"

QUIET = frozenset(
    {
        b"accept", b"content-type", b"user-agent", b"idempotency-key", b"x-request-id", b"x-client-request-id",
        b"x-goog-api-client", b"traceparent", b"tracestate", b"baggage",
    }
)  # fmt: skip
QUIET_PREFIXES = (b"x-stainless-", b"x-fern-", OURS)
"""Headers that decide nothing about an answer: who asks, how often, and how it is traced. Any other one may."""

VERSION = re.compile("^/v[0-9][a-z0-9]*(?=/)")
"""What clients' base paths consist of, as a rule."""

MARK_BYTES = 16


class Upstreams:
    """Finds who answers, in one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        chain = pipeline.settings.routes.get(CHAIN_ROUTE)
        self._chain = {target.provider for target in (*chain.deployments, *chain.fallback)} if chain else set()
        self._look()

    def _look(self) -> None:
        """See who is there."""
        there = self.pipeline.providers
        self._places = [
            (*provider.place(), provider.dialect(), name)
            for name, provider in there.items()
            if isinstance(provider, HTTPProvider)
        ]
        self._names = {*there, *self.pipeline.settings.routes}
        self._there = there

    def configured(self, name: str, asked: Asked, words: Spoken) -> Route | None:
        """
        The route that the configuration has for a request; None if it has none.

        Args:
            name: The model as the client says it, or what it says in place of it; may be empty.
        """
        pipeline, verb = self.pipeline, words.verb
        if self._there is not pipeline.providers:
            self._look()  # somebody came or went
        if not asked.origin or name.partition("/")[0] in self._names:
            found = pipeline.named(name, verb) if name else None
            if found is not None or not asked.origin:
                return found
        provider = self._here(asked, words)
        if provider is None:
            return None
        if verb == "request" or not name:
            return pipeline.named(provider, "request")
        # Where one name stands for several providers, it does so for a client of any of them.
        return pipeline.named(name if provider in self._chain else f"{provider}/{name}", verb)

    def _here(self, asked: Asked, words: Spoken) -> str | None:
        """Name of the configured provider at the client's address: of several the one with its base path and format."""
        here = [place for place in self._places if place[0] == asked.origin]
        if words.verb == "request":
            # What is not below a provider's base URL cannot be asked of it.
            here = [place for place in here if asked.path.startswith(place[1] + "/")]
        best = max(here, key=lambda place: (place[1] == words.base, place[2] == words.dialect), default=None)
        return None if best is None else best[3]

    def below(self, route: Route, asked: Asked) -> str:
        """Path and query of a request below the provider's base URL; a client elsewhere has another one, of a version."""
        provider = route.candidates[0].deployment.provider
        base = next((base for _, base, _, name in self._places if name == provider), "")
        if asked.path.startswith(base + "/"):
            return asked.target.removeprefix(base)
        return VERSION.sub("", asked.target)

    # The client's own upstream.

    def own(self, request: Request, name: str, asked: Asked, words: Spoken) -> Route:
        """
        The way to the client's own upstream for a request, which is given what that one alone may see.

        Raises:
            BadRequest: If it is signed: what a gateway sends is not what was signed.
        """
        key_line = next((line for line in asked.headers if line[0] in KEY_HEADERS), (b"", b""))
        if key_line[1].startswith(SIGNED):
            raise BadRequest(
                "a request that is signed for AWS cannot go through a gateway; use a provider `kind: bedrock`"
            )
        request.headers, request.path = _lines(asked.headers), asked.target
        whose = _digest([asked.origin.encode(), words.base.encode(), words.dialect.encode(), *key_line])
        route = self.pipeline.passing((whose, name), lambda: self._made(name, asked, words, key_line, whose))
        # Headers that decide about an answer keep answers apart; breaker and limits are the same with all of them.
        telling = sorted(line for line in asked.headers if line is not key_line and _tells(line[0]))
        if not telling:
            return route
        told = _digest(part for line in telling for part in line)
        return Route(route.name, route.groups, route.fingerprint + told.hex())

    def _made(self, name: str, asked: Asked, words: Spoken, key_line: tuple[bytes, bytes], whose: bytes) -> Route:
        host = urlsplit(asked.origin).netloc.removesuffix(":443").removesuffix(":80")
        # What no configuration would call a provider, and different for two keys at one address.
        label = f"{host}~{whose.hex()[:8]}"
        provider = OwnUpstream.of(label, asked.origin, words.base, words.dialect, _key(key_line))
        fingerprint = _digest([whose, name.encode("utf-8", "surrogatepass")]).hex()
        return Route(name or host, [self.pipeline.group("ordered", [self._candidate(provider, name)])], fingerprint)

    def _candidate(self, provider: OwnUpstream, model: str) -> Candidate:
        pipeline = self.pipeline
        deployment = provider.deployment(model)
        known = pipeline.candidates.get(deployment.name)
        if known is not None and _place_of(known) == (deployment.origin, deployment.credential):
            return known
        listed = replace(deployment, provider=provider.price_id() or "unknown")
        deployment = replace(deployment, priced=pipeline.prices.pricer(listed, _now))
        limits = [limit for limit in pipeline.settings.rate_limit if limit.per == "deployment"]
        return pipeline.around_attempt(deployment, provider.bind(model), limits)


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """The headers that go with a request to its client's own upstream: all but the key, which travels by itself."""
    lines: list[tuple[str, str]] = []
    keyed = False
    for name, value in headers:
        if name in KEY_HEADERS and not keyed:
            keyed = True
        elif name not in HOP and not name.startswith(OURS):
            lines.append((name.decode("ascii"), value.decode("latin-1")))
    return lines


def _tells(name: bytes) -> bool:
    return name not in HOP and name not in QUIET and not name.startswith(QUIET_PREFIXES)


def _key(line: tuple[bytes, bytes]) -> tuple[str, str, Secret] | None:
    """Header, prefix and secret of a line that carries a key; None if it carries none."""
    name, value = line[0].decode("ascii"), line[1].decode("latin-1")
    prefix, blank, rest = value.partition(" ")
    if name == "authorization" and blank:
        prefix, value = prefix + blank, rest.strip()
    else:
        prefix = ""
    try:
        return name, prefix, Secret(value)
    except ConfigError:
        return None  # a client without a key writes `Bearer ` all the same


def _place_of(candidate: Candidate) -> tuple[str, str]:
    return candidate.deployment.origin, candidate.deployment.credential


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=MARK_BYTES)
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()


def _now() -> datetime:
    return datetime.now(UTC)
