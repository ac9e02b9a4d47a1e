"""What an answer costs, exactly, or None: never a guess, never a float, never 0 for what nobody knows.

The upstream's own figure wins, then the price from the configuration, then the published one. Every token is priced
once: the cached, written, audio, image and thought parts at their own price where they have one, the rest at the price of
its direction.

Published prices come out of genai-prices, which decides which price held at a moment (new prices start on a day,
some change with the hour, some with the service tier); what it decided is kept compiled until it decides otherwise.
The list is the one in the installed package. It is loaded at the first look, and nothing here starts its updater;
if the application runs that itself, its news is taken up at once.

Fees that are not for tokens (web searches, minutes of audio, pages) are not in these costs.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..types.deployment import Deployment, Price
from ..types.response import Answer
from ..types.usage import Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

__all__ = ["PriceBook", "cost", "nanodollars"]

BOOK_SIZE = 1024
"""Models kept; several times what the longest list of one provider has in use, and about a megabyte."""

LONGEST_MODEL = 256
"""Characters; the longest published id has fewer than 100, and an upstream may answer with any name."""

# The caller's decimal context may round to six digits; money must not. Sixty hold any tokens times any price.
_EXACT = Context(prec=60)
_ZERO = Decimal(0)
_MILLIONTH = Decimal("0.000001")
_BILLION = Decimal(1_000_000_000)


def cost(usage: Usage, price: Price) -> Decimal | None:
    """
    US dollars for an answer; None if they cannot be known.

    Unknown is: no count of tokens at all, a count missing that the price multiplies, tokens of a sort without a
    price, or audio or images beside cached tokens when both have their own price and nobody says how much of them was
    cached. A part that was not counted (`cache_read_tokens=None`) is billed as what it is part of. A part is never
    larger than the whole: some upstreams report more cached tokens than prompt tokens.
    """
    told = _told(usage)
    if told is not None:
        return told
    read, written = usage.input_tokens, usage.output_tokens
    if read is None and written is None:
        return None
    cached = (usage.cache_read_tokens, price.cache_read), (usage.cache_write_tokens, price.cache_write)
    media = (usage.input_audio_tokens, price.input_audio), (usage.input_image_tokens, price.input_image)
    if any(map(_apart, media)) and any(map(_apart, cached)):
        return None
    input_part = _millionths(read, price.input, (*cached, *media))
    if written is None and price.output is None:
        output_part: Decimal | None = _ZERO  # an embedding: nothing is written and nothing is asked for it
    else:
        parts = (
            (usage.reasoning_tokens, price.reasoning),
            (usage.output_audio_tokens, price.output_audio),
            (usage.output_image_tokens, price.output_image),
        )
        output_part = _millionths(written, price.output, parts)
    if input_part is None or output_part is None:
        return None
    return _dollars(_EXACT.add(input_part, output_part), price.request)


def nanodollars(amount: Decimal) -> int:
    """Billionths of a US dollar, rounded up: a ledger in whole numbers never says less than was spent."""
    return int(_EXACT.multiply(amount, _BILLION).to_integral_value(ROUND_CEILING))


def _told(usage: Usage) -> Decimal | None:
    """The upstream's own figure, if it is one."""
    told = usage.cost
    return told if told is not None and told.is_finite() and told >= 0 else None


_Part = tuple[int | None, Decimal | None]
"""Tokens of one sort, and the price of a million of them if they have their own."""


def _apart(part: _Part) -> bool:
    """Whether such tokens were used and are billed apart from the rest."""
    return bool(part[0]) and part[1] is not None


def _millionths(whole: int | None, price: Decimal | None, parts: tuple[_Part, ...] = ()) -> Decimal | None:
    """Millionths of a dollar for one direction; a part without a price of its own stays with the rest."""
    if whole is None:
        return _ZERO if price is not None and not price else None
    total, rest = _ZERO, max(whole, 0)
    for count, own_price in parts:
        if count and own_price is not None:
            used = min(max(count, 0), rest)
            rest -= used
            total = _EXACT.fma(used, own_price, total)
    if not rest:
        return total
    return None if price is None else _EXACT.fma(rest, price, total)


def _dollars(millionths: Decimal, request: Decimal) -> Decimal:
    return _EXACT.fma(millionths, _MILLIONTH, request)


class PriceBook:
    """
    The published prices of the deployments' models.

    Everything here may be asked from any thread. The first question loads the list (about 0.2 s, most of it
    imports); `load` does that where it disturbs nobody.

    Args:
        ids: What the list calls each configured provider, by its name; who is missing is called by its name there,
            too. A provider whose id the list does not have sells at unknown prices.
        size: Models kept.
    """

    __slots__ = ("_ids", "_listings", "_lock", "_size", "_snapshot", "_snapshots")

    def __init__(self, ids: Mapping[str, str] | None = None, *, size: int = BOOK_SIZE) -> None:
        self._ids = dict(ids or {})
        self._size = size
        self._lock = threading.Lock()
        self._listings: dict[tuple[str, str, str], _Listing | None] = {}
        self._snapshots: Callable[[], DataSnapshot] | None = None
        self._snapshot: DataSnapshot | None = None

    def call(self, provider: str, id: str | None) -> None:
        """From now on the list calls a configured provider like this; None: there is no such provider any more."""
        with self._lock:
            if self._ids.get(provider) != id:
                # Others go through the mapping without asking for the lock.
                others = {other: its for other, its in self._ids.items() if other != provider}
                self._ids = others if id is None else {**others, provider: id}
                self._listings = {}

    @property
    def loaded(self) -> bool:
        """Whether a question will be answered without loading the list first."""
        return self._snapshots is not None

    def load(self) -> None:
        """Load the list. Blocks; harmless twice."""
        if self._snapshots is None:
            from genai_prices.data_snapshot import get_snapshot

            get_snapshot()
            self._snapshots = get_snapshot

    def price(
        self, deployment: Deployment, at: datetime, *, input_tokens: int = 0, service_tier: str = ""
    ) -> Price | None:
        """
        The price that holds for a deployment, None if nobody knows one.

        Args:
            at: When; a time without a zone is UTC.
            input_tokens: Length of the prompt; long ones may have a price of their own.
            service_tier: As the upstream names it in its answer (`flex`, `priority`); empty is the standard one.
        """
        if deployment.price is not None:
            return deployment.price
        return self._published(deployment.provider, deployment.model, at, input_tokens, service_tier)

    def cost(
        self, deployment: Deployment, usage: Usage, at: datetime, *, model: str = "", service_tier: str = ""
    ) -> Decimal | None:
        """
        US dollars for an answer of this deployment, None if they cannot be known; see `cost`.

        Args:
            model: The model that says it answered. It is the one that is billed: what was asked for may be an
                alias, a router, or a name of the user's own.
        """
        told = _told(usage)
        if told is not None:
            return told
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        price = None
        if deployment.price is None and model and model != deployment.model:
            price = self._published(deployment.provider, model, at, usage.input_tokens or 0, service_tier)
        if price is None:
            price = self.price(deployment, at, input_tokens=usage.input_tokens or 0, service_tier=service_tier)
        return None if price is None else cost(usage, price)

    def pricer(self, deployment: Deployment, clock: Callable[[], datetime]) -> Callable[[Answer], Decimal | None]:
        """
        What computes `Answer.cost` for the answers of a deployment.

        Args:
            clock: The time of day; asked when somebody asks for the cost.
        """

        def priced(answer: Answer) -> Decimal | None:
            if answer.cached is not None:
                return _ZERO
            raw = answer.raw
            tier = raw.get("service_tier") if isinstance(raw, dict) else None
            tier = tier if isinstance(tier, str) else ""
            return self.cost(deployment, answer.usage, clock(), model=answer.model, service_tier=tier)

        return priced

    def worst_case(self, deployment: Deployment, input_tokens: int, output_tokens: int, at: datetime) -> Decimal | None:
        """
        US dollars that a text call of this size costs at most, None if no price is known.

        The whole input may be written into the prompt cache, and the whole output may be thought.
        """
        price = self.price(deployment, at, input_tokens=input_tokens)
        if price is None:
            return None
        read = _millionths(input_tokens, _dearest(price.input, price.cache_write))
        written = _millionths(output_tokens, _dearest(price.output, price.reasoning))
        return None if read is None or written is None else _dollars(_EXACT.add(read, written), price.request)

    def context_window(self, provider: str, model: str) -> int | None:
        """Tokens the model can read, as published; None if that is not known."""
        listing = self._listing(provider, model, "")
        return None if listing is None else listing.model.context_window

    def __repr__(self) -> str:
        return f"<PriceBook {len(self._listings)} of at most {self._size} models>"

    def _published(self, provider: str, model: str, at: datetime, input_tokens: int, tier: str) -> Price | None:
        listing = self._listing(provider, model, tier)
        tariff = None if listing is None else listing.tariff(at)
        return None if tariff is None else tariff.price(input_tokens)

    def _listing(self, provider: str, model: str, tier: str) -> _Listing | None:
        if self._snapshots is None:
            self.load()
            assert self._snapshots is not None
        snapshot = self._snapshots()
        if snapshot is not self._snapshot:
            with self._lock:
                self._snapshot, self._listings = snapshot, {}
        listings = self._listings
        key = (provider, model, tier)
        try:
            return listings[key]
        except KeyError:
            pass
        listing = self._look_up(snapshot, provider, model, tier) if len(model) + len(tier) <= LONGEST_MODEL else None
        with self._lock:
            while len(listings) >= self._size:
                del listings[next(iter(listings))]
            listings[key] = listing
        return listing

    def _look_up(self, snapshot: DataSnapshot, provider: str, model: str, tier: str) -> _Listing | None:
        id = self._ids.get(provider, provider)
        # By its exact id: their own search takes `openai-compatible` for OpenAI, and keeps every name it ever saw.
        seller = next((seller for seller in snapshot.providers if seller.id == id), None)
        info = seller and seller.find_model(model, all_providers=snapshot.providers)
        return _Listing(seller, info, tier) if seller and info else None


class _Listing:
    """One model in the list, with its price as it was when it was last asked for."""

    __slots__ = ("_current", "_tier", "model")

    def __init__(self, seller: Provider, model: ModelInfo, tier: str) -> None:
        self.model = model
        # Where a seller borrows the maker's price, the maker's tiers are not his.
        own = tier and any(model is other for other in seller.models)
        self._tier = {"service_tier": tier} if own else None
        self._current: tuple[ModelPrice, _Tariff | None] | None = None

    def tariff(self, at: datetime) -> _Tariff | None:
        prices = self.model.get_prices(at, self._tier)
        current = self._current
        # The same object while the price holds; with a tier an equal copy of it.
        if current is None or (prices is not current[0] and prices != current[0]):
            current = self._current = prices, _Tariff.of(prices)
        return current[1]


class _Tariff:
    """Prices by the length of the prompt. Beyond a threshold the higher price is that of all tokens."""

    __slots__ = ("_prices", "_thresholds")

    def __init__(self, thresholds: list[int], prices: list[Price]) -> None:
        self._thresholds = thresholds
        self._prices = prices

    def price(self, input_tokens: int) -> Price:
        return self._prices[bisect_left(self._thresholds, input_tokens)]

    @classmethod
    def of(cls, prices: ModelPrice) -> _Tariff | None:
        """
        None if it says nothing about tokens. An entry without any price is read so, too: the list has some that
        are free and some that nobody could price, and does not tell them apart.
        """
        if prices.input_mtok is None and prices.output_mtok is None:
            return None
        fields = [prices.__dict__.get(key) for key in _FIELDS.values()]
        thresholds = sorted({tier.start for field in fields for tier in getattr(field, "tiers", ())})
        return cls(thresholds, [_price_above(threshold, prices) for threshold in (-1, *thresholds)])


_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "input": "input_mtok",
        "output": "output_mtok",
        "cache_read": "cache_read_mtok",
        "cache_write": "cache_write_mtok",
        "reasoning": "output_reasoning_mtok",
        "input_audio": "input_audio_mtok",
        "output_audio": "output_audio_mtok",
        "input_image": "input_image_mtok",
        "output_image": "output_image_mtok",
        "request": "requests_kcount",
    }
)
"""Our names of the sorts of tokens, and those of genai-prices."""


def _price_above(threshold: int, prices: ModelPrice) -> Price:
    """The price of prompts longer than the threshold."""
    values: dict[str, Decimal] = {}
    for name, key in _FIELDS.items():
        value = prices.__dict__.get(key)
        for tier in getattr(value, "tiers", ()):
            if tier.start <= threshold:
                values[name] = tier.price
        if value is not None:
            values.setdefault(name, getattr(value, "base", value))
    if "request" in values:
        values["request"] = _EXACT.divide(values["request"], Decimal(1000))
    return Price(**values)


def _dearest(*prices: Decimal | None) -> Decimal | None:
    """The highest price, None if the first is unknown."""
    return None if prices[0] is None else max(price for price in prices if price is not None)
