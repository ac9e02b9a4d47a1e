"""A provider that stands by itself: what a gateway would give it otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from ..policies.prices import PriceBook
from ..runtime.asynchronous import AsyncioRuntime
from ..runtime.blocking import BlockingRuntime
from ..runtime.edge import AsyncFace, Door, discovered
from ..runtime.engines import engine_maker
from ..runtime.http import HTTPOptions
from ..types.call import Call
from ..types.reply import Reply
from ..types.request import PINNED
from ..types.response import Models, RawResponse

if TYPE_CHECKING:
    from .base import Provider

__all__ = ["Alone", "AsyncProvider"]


class Alone:
    """Connections, prices and a door for a provider that no gateway gives any. With several keys it uses the first."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.blocking = BlockingRuntime(engine_maker(HTTPOptions(), "blocking"))
        self.asyncio = AsyncioRuntime(engine_maker(HTTPOptions(), "asyncio"))
        self.door = Door(self._open, self.blocking, self.asyncio)
        self._prices = PriceBook({provider.label(): provider.price_id() or "unknown"})

    async def _open(self, call: Call) -> Reply:
        provider, request = self.provider, call.request
        model = "" if request.verb in ("models", "request") else call.route
        if request.verb in PINNED:
            model = model.removeprefix(f"{provider.label()}/")  # the route is the name of a deployment
        deployment = provider.deployment(model)
        call.deployment = replace(deployment, priced=self._prices.pricer(deployment, _now))
        call.request = request.to(model)
        return await provider.bind(model)(call)

    def close(self) -> None:
        """Close every connection, those of event loops on their loops."""
        self.blocking.close()
        self.asyncio.close_from_thread()


class AsyncProvider(AsyncFace):
    """A provider for asyncio: its verbs with `await`."""

    def __init__(self, alone: Alone) -> None:
        super().__init__(alone.door)
        self._alone = alone

    async def models(self) -> Models:
        """What it offers."""
        return await discovered(self._door, self._alone.asyncio, [self._alone.provider.label()])

    async def request(  # type: ignore[override]
        self, method: str, path: str, *, json: Any = None, **keywords: Any
    ) -> RawResponse:
        """Anything else it has; see `Provider.request`."""
        return await super().request(self._alone.provider.label(), method, path, json=json, **keywords)

    async def close(self) -> None:
        """Close its connections."""
        self._alone.blocking.close()
        await self._alone.asyncio.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _now() -> datetime:
    return datetime.now(UTC)
