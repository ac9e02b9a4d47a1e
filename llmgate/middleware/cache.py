"""Give an answer again that was given before."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, InstanceOf, Tag

from ..policies.cache_key import CacheKey, KeyHash, Scope
from ..policies.cacheable import CACHED_VERBS, Cacheable
from ..stores.base import Entry, Holdings, Store
from ..types.call import CacheControl, Call, Handler
from ..types.deployment import Deployment
from ..types.entry import dump, load
from ..types.reply import Reply
from ..types.request import Verb
from ..types.response import Answer, Chunk, Folder
from ..types.units import Duration, Size
from .base import Middleware

__all__ = ["CACHE_KEY", "Cache", "Caching", "MemoryTier", "SqliteTier", "TierStats"]

T = TypeVar("T")

logger = logging.getLogger("llmgate.cache")

CACHE_KEY = "cache_key"
"""Under this name a call's trail notes its request and the key of it, for whoever needs the key, too."""
SHARED = "shared"
"""Under this name a call's trail notes that it shares its answer with another call, and that the other one keeps it."""

STORE_S = 0.05  # seconds a call waits for a store; a tenth of the shortest answer of a model
STRIKES = 3  # failures in a row after which a store is left alone: one may be another process's long write
REST_S = 30.0  # seconds it is left alone

DEFAULT_CONTROL = CacheControl()


class MemoryTier(BaseModel):
    """Answers in the memory of this process. What is not given here is as the cache says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["memory"] = "memory"
    max_size: int | None = Field(default=None, ge=1, description="entries")
    max_bytes: Size | None = Field(default=None, ge=1, description="bytes of all answers")
    eviction: Literal["lru", "lfu", "fifo"] = Field(
        default="lru", description="who makes room: unused longest, used least, oldest"
    )

    def open(self, cache: Cache) -> Store:
        from ..stores.memory import Memory

        return Memory(self.max_size or cache.max_size, self.max_bytes or cache.max_bytes, self.eviction)


class SqliteTier(BaseModel):
    """Answers in a file, for the threads and processes of this host, and for the next start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sqlite"] = "sqlite"
    path: str = Field(default=".llmgate/cache.db", min_length=1, description="the file; its owner alone can read it")
    max_bytes: Size = Field(default=2**28, ge=2**16, description="size of the file")

    def open(self, cache: Cache) -> Store:
        from ..stores.sqlite import Sqlite

        return Sqlite(self.path, self.max_bytes)


def _kind(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return value.get("kind")
    return getattr(value, "kind", "store")


def _by_name(value: Any) -> Any:
    """A tier without options may be written as its name."""
    return {"kind": value} if isinstance(value, str) else value


Tier = Annotated[
    Annotated[
        MemoryTier, BeforeValidator(_by_name, json_schema_input_type=MemoryTier | Literal["memory"]), Tag("memory")
    ]
    | Annotated[
        SqliteTier, BeforeValidator(_by_name, json_schema_input_type=SqliteTier | Literal["sqlite"]), Tag("sqlite")
    ]
    | Annotated[InstanceOf[Store], Tag("store")],
    Discriminator(_kind),
]
"""A tier's options, its name, or a store of your own."""


class Cache(Middleware):
    """
    Give an answer again that was given before: same question, same tenant, same keys, same models.

    Raises nothing of its own: a cache that fails is a cache that does not know the answer.

    A call may say more (`CacheControl`): not to read, not to write, how old the answer may be, how long to keep it.
    """

    enabled: bool = Field(default=True, description="whether there is one")
    ttl: Duration = Field(default=3600.0, gt=0, description="how long an answer is kept")
    max_size: int = Field(default=10_000, ge=1, description="answers in memory")
    max_bytes: Size = Field(default=2**26, ge=1, description="bytes of the answers in memory")
    max_answer_bytes: Size = Field(default=2**20, ge=1, description="larger answers are not kept")
    tiers: tuple[Tier, ...] = Field(default=(MemoryTier(),), min_length=1, description="where to look, in order")
    key_hash: KeyHash = Field(default="blake2b", description="digest of the key, 256 bits of it: blake2b or sha256")
    scope: Scope = Field(
        default="tenant", description="tenant keeps tenants apart; shared lets them see one another's answers"
    )
    namespace: str = Field(default="", description="a part of the key, where a call names none")
    verbs: tuple[Verb, ...] = Field(default=CACHED_VERBS, description="whose answers are kept")
    sampled: bool = Field(
        default=False, description="whether a temperature above 0 is no obstacle, even if the call does not ask"
    )
    store_length_finish: bool = Field(
        default=False, description="whether answers are kept that were cut at their maximal length"
    )
    tool_calls: bool = Field(default=False, description="whether answers are kept that call a tool")

    def wrap(self, call_next: Handler) -> Handler:
        return Caching(self, call_next) if self.enabled else call_next


@dataclass(slots=True)
class TierStats:
    """
    What one tier did, and what it holds. Threads may lose a count to one another.

    Attributes:
        hits: Answers that came from here.
        misses: Questions that were not answered from here.
        stores: Answers that were written here; those promoted from a later tier included.
        failures: Times that it failed or took too long.
    """

    hits: int = 0
    misses: int = 0
    stores: int = 0
    failures: int = 0
    holdings: Holdings | None = None


class _Shelf:
    """One tier with what is known about its health. Whatever it raises, a call does not see it."""

    __slots__ = ("blocking", "name", "off_until", "stats", "store", "strikes", "warned")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.name = store.name
        self.blocking = store.blocking
        self.stats = TierStats()
        self.off_until = float("-inf")
        self.strikes = 0
        self.warned = False

    async def use(self, call: Call, function: Callable[..., T], *arguments: Any) -> T | None:
        """What the store's function returns; None if it failed, took too long or is left alone."""
        runtime = call.runtime
        now = runtime.now()
        if not self.blocking:
            return self.at_once(now, function, *arguments)
        if now < self.off_until:
            return None
        try:
            result = await runtime.within(now + STORE_S, runtime.offload(function, *arguments))
        except Exception as error:
            self._failed(now, error)
            return None
        self.strikes = 0
        self.warned = False
        return result

    def at_once(self, now: float, function: Callable[..., T], *arguments: Any) -> T | None:
        """The same where nobody need wait, because the store does not block."""
        if now < self.off_until:
            return None
        try:
            result = function(*arguments)
        except Exception as error:
            self._failed(now, error)
            return None
        self.strikes = 0
        self.warned = False
        return result

    def _failed(self, now: float, error: Exception) -> None:
        self.stats.failures += 1
        self.strikes += 1
        if self.strikes < STRIKES:
            return
        self.off_until = now + REST_S
        if not self.warned:
            self.warned = True
            said = str(error) or type(error).__name__
            logger.warning(
                "%r fails (%s); the cache goes on without it and tries again every %gs", self.store, said, REST_S
            )


class Caching:
    """The handler of a cache, with its state."""

    def __init__(self, options: Cache, call_next: Handler) -> None:
        self._next = call_next
        self._key = CacheKey(options.key_hash, options.scope, options.namespace)
        self._cacheable = Cacheable(
            frozenset(options.verbs), options.sampled, options.store_length_finish, options.tool_calls
        )
        self._ttl_s = options.ttl
        self.max_answer_bytes = options.max_answer_bytes
        self._shelves = [_Shelf(tier if isinstance(tier, Store) else tier.open(options)) for tier in options.tiers]
        self._blocking = any(shelf.blocking for shelf in self._shelves)

    def sharing(self, call_next: Handler) -> Caching:
        """The same cache before another handler."""
        other = copy.copy(self)
        other._next = call_next
        return other

    async def __call__(self, call: Call) -> Reply:
        request, control = call.request, call.options.cache or DEFAULT_CONTROL
        if not self._cacheable.question(request, control) or not (control.read or control.write):
            return await self._next(call)
        try:
            key = self._key(call)
        except (TypeError, ValueError, RecursionError):
            # What is no JSON has no key. Whether it can be sent is not for the cache to say.
            return await self._next(call)
        if control.read:
            hit = await self._read(call, key, control)
            if hit is not None:
                return hit
        call.trail.notes[CACHE_KEY] = request, key
        reply = await self._next(call)
        if control.write and SHARED not in call.trail.notes:
            whole = reply.whole
            if whole is not None and not self._blocking:
                # Whole already, and nobody need wait for it to be written down.
                payload = self.payload(whole, reply.deployment, reply.request_id, reply.spoken)
                if payload is not None:
                    self._keep_at_once(call, key, payload)
            else:
                record = _Record(self, call, key, reply)
                reply.through(record.see, changes=False)
                reply.on_complete(record.store)
        return reply

    async def _read(self, call: Call, key: bytes, control: CacheControl) -> Reply | None:
        missed: list[_Shelf] = []
        for shelf in self._shelves:
            now, get = call.runtime.now(), shelf.store.get
            entry = await shelf.use(call, get, key, now) if shelf.blocking else shelf.at_once(now, get, key, now)
            answer = None
            if entry is not None and (control.max_age_s is None or entry.age_s <= control.max_age_s):
                try:
                    answer = load(entry.payload, lazily=not shelf.blocking)
                except ValueError:
                    await shelf.use(call, shelf.store.delete, key)
            if entry is None or answer is None:
                shelf.stats.misses += 1
                missed.append(shelf)
                continue
            shelf.stats.hits += 1
            for earlier in missed:
                await self._put(call, earlier, key, entry)
            reply = Reply.of(answer, cached=shelf.name, request_id=answer.request_id)
            reply.spoken = answer.spoken
            return reply
        return None

    async def _put(self, call: Call, shelf: _Shelf, key: bytes, entry: Entry) -> None:
        namespace = self._key.namespace(call.options.cache)
        if await shelf.use(call, shelf.store.put, key, entry, call.runtime.now(), namespace):
            shelf.stats.stores += 1

    def payload(
        self, answer: Answer, deployment: Deployment | None, request_id: str | None, spoken: str
    ) -> bytes | None:
        """What is kept of an answer, with the upstream's own bytes in that format; None if it is not kept, or cannot be."""
        try:
            if not self._cacheable.answer(answer):
                return None
            if deployment is not None and not answer.deployment:
                answer.deployment, answer.provider = deployment.name, deployment.provider
            answer.request_id = answer.request_id or request_id
            payload = dump(answer, spoken)
        except Exception:
            # An answer that is no JSON, or no answer at all; that is not for the cache to complain about.
            return None
        return payload if len(payload) <= self.max_answer_bytes else None

    async def keep(self, call: Call, key: bytes, payload: bytes) -> None:
        """Write an answer to every tier."""
        ttl_s = self._ttl_of(call.options.cache)
        if ttl_s > 0:
            for shelf in self._shelves:
                await self._put(call, shelf, key, Entry(payload, ttl_s))

    def _keep_at_once(self, call: Call, key: bytes, payload: bytes) -> None:
        """The same where no tier blocks."""
        control = call.options.cache
        ttl_s, now, namespace = self._ttl_of(control), call.runtime.now(), self._key.namespace(control)
        if ttl_s > 0:
            for shelf in self._shelves:
                if shelf.at_once(now, shelf.store.put, key, Entry(payload, ttl_s), now, namespace):
                    shelf.stats.stores += 1

    def _ttl_of(self, control: CacheControl | None) -> float:
        return self._ttl_s if control is None or control.ttl_s is None else control.ttl_s

    def clear(self, namespace: str | None = None) -> int:
        """
        Forget the answers of one namespace, or all; returns how many entries that were, all tiers together.

        It waits for the tiers, and what they raise comes through: who clears a cache wants to know that it is clear.
        """
        return sum(shelf.store.clear(namespace) for shelf in self._shelves)

    def stats(self) -> dict[str, TierStats]:
        """By the tiers' names; the holdings of a tier that cannot say are None."""
        found = {}
        for shelf in self._shelves:
            try:
                holdings = shelf.store.holdings()
            except Exception:
                holdings = None
            found[shelf.name] = replace(shelf.stats, holdings=holdings)
        return found

    def close(self) -> None:
        """Close the tiers. Stores that were handed in are closed, too; they open again when they are used."""
        for shelf in self._shelves:
            with contextlib.suppress(Exception):
                shelf.store.close()


class _Record:
    """Watches one answer pass, and keeps it when it is whole."""

    __slots__ = ("_caching", "_call", "_deployment", "_folder", "_key", "_payload", "_request_id", "_room", "_spoken")

    def __init__(self, caching: Caching, call: Call, key: bytes, reply: Reply) -> None:
        self._caching = caching
        self._call = call
        self._key = key
        # Not the reply itself: it would hold itself, and one that is dropped would not be gone at once.
        self._deployment = reply.deployment
        self._request_id = reply.request_id
        self._spoken = reply.spoken
        self._folder: Folder | None = None
        self._payload: bytes | None = None
        self._room = caching.max_answer_bytes

    def see(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        whole = chunks[0].whole if chunks else None
        if whole is not None:
            # Written down at once: whoever stands further out may change it.
            self._payload = self._caching.payload(whole, self._deployment, self._request_id, self._spoken)
        elif self._room >= 0:
            if self._folder is None:
                self._folder = Folder()
            self._folder.extend(chunks)
            for chunk in chunks:
                self._room -= len(chunk.text) + len(chunk.reasoning)
            if self._room < 0:
                # Too long to be kept; it need not be held either.
                self._folder = None
        return chunks

    async def store(self) -> None:
        payload = self._payload
        if self._folder is not None:
            payload = self._caching.payload(self._folder.answer(), self._deployment, self._request_id, "")
        if payload is not None:
            await self._caching.keep(self._call, self._key, payload)
