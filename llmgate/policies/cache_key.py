"""When two calls ask the same question: the key under which an answer is kept and a flight is shared.

The key is a digest of everything that decides about the answer: whose call it is, who may answer it, and what reaches
the wire. `FIELDS` names every field of a call and says whether it is part of the key, and why; a field that nobody
has classified fails a test.

The body is written as JSON, because JSON is what reaches the wire: `1`, `1.0`, `"1"` and `true` differ there, and so do
two Unicode normal forms of one word. Of the other texts the lengths come first, so that the tenants `a` and `ab` never
meet. The order of keys says nothing at the top of the body and within the messages, so they are sorted.
Everywhere else it stays part of the key: a model writes the properties of a schema in the order in which the
schema lists them.

Two calls with one key have the same answer (law: tests/laws/test_cache_key.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..types.call import CacheControl, Call, Options
from ..types.request import Request
from ..types.wire import encode

__all__ = ["FIELDS", "IN_KEY", "NOT_IN_KEY", "CacheKey", "KeyHash", "Scope"]

KeyHash = Literal["blake2b", "sha256"]
Scope = Literal["tenant", "shared"]

VERSION = 3  # of the encoding; another one makes all keys new
KEY_BYTES = 32  # of both digests
KNOWN = 2048  # keys kept with what they were made of, so that who asks again pays for no digest at all
KNOWN_BYTES = 2048  # of a body that is kept for that; of a larger one its digest is; four megabytes at the most

IN_KEY, NOT_IN_KEY = True, False

FIELDS: Mapping[type, Mapping[str, tuple[bool, str]]] = {
    Request: {
        "verb": (IN_KEY, "the same body means something else to another verb"),
        "model": (IN_KEY, "reaches the wire; empty before the attempts, where the fingerprint names the models"),
        "body": (IN_KEY, "reaches the wire, whole, unknown names included; all but `stream_options`"),
        "stream": (NOT_IN_KEY, "how the answer travels, not what it is: a stream may replay a whole answer, and back"),
        "encoded": (NOT_IN_KEY, "made of the body"),
        "method": (IN_KEY, "reaches the wire"),
        "path": (IN_KEY, "reaches the wire"),
        "headers": (NOT_IN_KEY, "those that decide about an answer are part of the fingerprint of where they go"),
        "spoken": (NOT_IN_KEY, "how the answer is told, not what it is"),
        "original": (IN_KEY, "reaches the wire of an upstream of its format; where it is plain the body says the same"),
    },
    Options: {
        "timeout_s": (NOT_IN_KEY, "how long the caller waits does not change the answer"),
        "tenant": (IN_KEY, "no tenant sees what another one asked, unless the scope is `shared`"),
        "tags": (NOT_IN_KEY, "labels for telemetry"),
        "cache": (NOT_IN_KEY, "its namespace alone is part of the key, see there"),
        "fallback": (IN_KEY, "who refuses the fallback does not want its stored answer either"),
        "idempotency_key": (NOT_IN_KEY, "guards against doing a thing twice; a stored answer does nothing at all"),
        "unsupported": (IN_KEY, "an answer to less than was asked is no answer to who wants all or nothing"),
    },
    CacheControl: {
        "read": (NOT_IN_KEY, "says what to do with the key"),
        "write": (NOT_IN_KEY, "says what to do with the key"),
        "asked": (NOT_IN_KEY, "says whether there is a key"),
        "ttl_s": (NOT_IN_KEY, "belongs to the entry"),
        "max_age_s": (NOT_IN_KEY, "is compared with the entry"),
        "namespace": (IN_KEY, "keeps answers apart"),
    },
    Call: {
        "request": (IN_KEY, "see above"),
        "runtime": (NOT_IN_KEY, "sync and async callers share one cache"),
        "route": (IN_KEY, "a name; it counts only where no fingerprint says what it stands for"),
        "options": (IN_KEY, "see above"),
        "started": (NOT_IN_KEY, "the clock"),
        "deadline": (NOT_IN_KEY, "the clock"),
        "fingerprint": (IN_KEY, "who may answer: providers, origins, models, credential scopes, transforms"),
        "way": (NOT_IN_KEY, "the route itself; the fingerprint says what counts of it"),
        "patience_s": (NOT_IN_KEY, "the clock"),
        "timers": (NOT_IN_KEY, "the clock"),
        "deployment": (NOT_IN_KEY, "None outside of an attempt"),
        "trail": (NOT_IN_KEY, "what happened so far"),
    },
}
"""Every field a call is made of: whether it is part of the key, and why."""

# Parameters in which the order of keys says nothing, or that have no keys: all the large ones.
_ORDERLESS = frozenset({"messages", "prompt", "input", "stop"})
_NESTED = (dict, list, tuple)
_FLAT = frozenset({str, int, bool, type(None)})
# Of a body in a caller's own format, what is said of the model elsewhere, and of the way of the answer.
_TRAVEL = frozenset({"model", "modelId", "stream"})

# A body was encoded once when it was accepted, so it has no circle that would have to be looked for again.
_sorted = json.JSONEncoder(
    sort_keys=True, allow_nan=False, ensure_ascii=False, check_circular=False, separators=(",", ":")
).encode
_ordered = json.JSONEncoder(allow_nan=False, ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def _blake2b(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_HASHES: Mapping[str, Callable[[bytes], bytes]] = {"blake2b": _blake2b, "sha256": _sha256}


class CacheKey:
    """
    Makes the keys of calls.

    Args:
        key_hash: `blake2b` (256 bits of it) or `sha256`.
        scope: `tenant` keeps tenants apart; `shared` lets all of them see one another's answers. Credentials are
            kept apart in both, because the fingerprint holds their scopes.
        namespace: Taken where a call names none.
    """

    __slots__ = ("_hash", "_known", "_namespace", "_room", "_shared")

    def __init__(self, key_hash: KeyHash = "blake2b", scope: Scope = "tenant", namespace: str = "") -> None:
        self._hash = _HASHES[key_hash]
        self._shared = scope == "shared"
        self._namespace = namespace
        # The keys of what was asked before, by its circumstances and what was sent. When it is full it begins anew, which
        # costs the next callers what the first ones paid.
        self._known: dict[tuple[str | bool, ...], dict[bytes, bytes]] = {}
        self._room = KNOWN

    def namespace(self, control: CacheControl | None) -> str:
        """The namespace of a call's answer."""
        return (control.namespace if control is not None else "") or self._namespace

    def __call__(self, call: Call) -> bytes:
        """
        The key of a call, 32 bytes.

        Raises:
            ValueError, TypeError, RecursionError: If the body is not JSON; such a call cannot be sent either.
        """
        request, options = call.request, call.options
        control = options.cache
        circumstances = (
            "" if self._shared else options.tenant,
            (control.namespace if control is not None else "") or self._namespace,
            # Without a fingerprint a route counts by its name; a fingerprint is of hexadecimal digits, no name begins with "=".
            call.fingerprint or "=" + call.route,
            request.model,
            request.path,
            request.verb,
            request.method,
            options.fallback,
            options.unsupported == "drop",
        )
        original = request.original
        if original is not None and not original.plain:
            # Everything else that may be sent is made of this.
            said = {name: value for name, value in original.body.items() if name not in _TRAVEL}
            return self._made(request.spoken.encode() + _body(said), *circumstances)
        encoded = request.encoded
        if not encoded:
            return self._made(_body(request.body), *circumstances)
        sent = encoded if len(encoded) <= KNOWN_BYTES else _blake2b(encoded)
        known = self._known.get(circumstances)
        key = None if known is None else known.get(sent)
        if key is None:
            key = self._made(_body(request.body), *circumstances)
            if self._room <= 0:
                self._known, self._room = {}, KNOWN
            self._known.setdefault(circumstances, {})[sent] = key
            self._room -= 1
        return key

    def _made(
        self, body: bytes, tenant: str, namespace: str, route: str, model: str, path: str, verb: str, method: str,
        fallback: bool, drop: bool,
    ) -> bytes:  # fmt: skip
        # The lengths come first, so that no text can reach into its neighbour, and the body last.
        text = (
            f"{VERSION} {self._shared:d}{fallback:d}{drop:d} {len(tenant)} {len(namespace)} {len(route)} {len(model)} {len(path)} "
            f"{verb} {method} {tenant}{namespace}{route}{model}{path}"
        )
        # surrogatepass gives every text bytes of its own, lone surrogates included.
        return self._hash(text.encode("utf-8", "surrogatepass") + body)


def _body(body: Any) -> bytes:
    """A body in order. What begins with an equals sign is flat, what begins with a bracket is any, in front stands a format."""
    if not isinstance(body, dict):
        return _ordered([body]).encode("utf-8", "surrogatepass")
    try:
        return _flat(body) or _nested(body)
    except TypeError:
        # Something else than a text becomes one on its way when it is a key, and cannot be put in order before.
        body = json.loads(_ordered(body))
        return _flat(body) or _nested(body)


def _flat(body: dict[str, Any]) -> bytes | None:
    """A body that holds nothing but texts, numbers and messages of such, as most do: in half the time. None for any other."""
    parts: list[Any] = []
    "".join(body)  # of keys that are no texts there is none
    for name in sorted(body):
        value = body[name]
        if type(value) in _FLAT or (type(value) is float and value - value == 0.0):
            parts.append((name, value))
        elif name == "messages" and type(value) is list:
            for message in value:
                if type(message) is not dict:
                    return None
                "".join(message)
                for part in message.values():
                    if type(part) not in _FLAT:
                        return None
            parts.append([sorted(message.items()) for message in value])
        elif name != "stream_options":
            return None
    try:
        return b"=" + encode(parts)
    except ValueError:
        return None  # half of a character pair, which only the other way can write


def _nested(body: dict[str, Any]) -> bytes:
    parts = [body]
    if "stream_options" in body:
        # How the stream is cut, not what it says.
        parts[-1] = body = {name: value for name, value in body.items() if name != "stream_options"}
    return _sorted(parts + _in_order(body)).encode("utf-8", "surrogatepass")


def _in_order(body: dict[Any, Any]) -> list[Any]:
    """The parameters in which the order of keys says something, as one text."""
    nested = [name for name in body.keys() - _ORDERLESS if isinstance(body[name], _NESTED)]
    return [_ordered([body[name] for name in sorted(nested)])] if nested else []
