"""What every HTTP engine shares: its options, the head of a request, limits on the answer.

There are two engines: `lanes` (connections of ours, read by httpx2's protocol code, which is the default, or by
aiohttp's parser, which is the extra `fast`) and `client` (a client that the caller brought, or httpx2's for the
environment's sake). Neither follows a redirect, looks at the environment unless asked, or sends a key to an origin for
which it was not configured.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..errors import BadRequest, ConfigError, ConnectionFailed, ProtocolError
from ..types.wire import WireRequest, WireResponse

if TYPE_CHECKING:
    import ssl

__all__ = [
    "Body",
    "Color",
    "Engine",
    "HTTPOptions",
    "Headers",
    "Untrusted",
    "drop_transport",
    "fields",
    "head",
    "tls_failure",
    "untraced",
]

Color = Literal["blocking", "asyncio"]

KEEPALIVE_S = 60.0  # seconds; most providers' load balancers keep an idle connection for 60 or longer
RESPONSE_MAX_BYTES = 64 * 2**20  # decoded; ten times the largest embedding answers seen
INFLATE_RATIO_MAX = 100  # decoded to wire; JSON text compresses 5 to 20 times, a bomb 1000 times
INFLATE_FREE_BYTES = 2**20  # below this the ratio says nothing
INFLATE_STEP_BYTES = 2**20  # decoded at a time, so that a bomb never unfolds in memory


@dataclass(frozen=True, slots=True)
class HTTPOptions:
    """
    How connections are made.

    Attributes:
        engine: `httpx2` (default), `aiohttp` (asyncio only, extra `fast`), or `auto`: aiohttp where it is installed.
        keepalive_s: Seconds an idle connection is kept.
        trust_env: Whether `HTTP_PROXY`, `SSL_CERT_FILE`, `.netrc` and the like count; a client of httpx2 sends then,
            whatever `engine` says.
        max_response_bytes: Largest answer, decoded.
        verify: A TLS context of your own; None is the system's trust store.
    """

    engine: Literal["auto", "httpx2", "aiohttp"] = "httpx2"
    keepalive_s: float = KEEPALIVE_S
    trust_env: bool = False
    max_response_bytes: int = RESPONSE_MAX_BYTES
    verify: ssl.SSLContext | None = None


class Engine(Protocol):
    """Sends requests of one event loop, or of all threads."""

    async def send(self, request: WireRequest, until: float) -> WireResponse: ...

    async def close(self) -> None:
        """Close every idle connection, and cut the ones in use."""
        ...

    def abandon(self) -> None:
        """The same without the event loop, because it is closed or stands still."""
        ...

    def drop(self) -> None:
        """In the child of a fork: close this process's copies of the sockets, and nothing that the parent would notice."""
        ...


def drop_transport(transport: Any) -> None:
    """Close the socket of an asyncio transport and touch nothing else: the transport needs its event loop to be closed."""
    # Under TLS the transport that has the socket is one below.
    below: Any = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    for each in filter(None, (transport, below)):
        sock = getattr(each, "_sock", None)
        if sock is not None:
            sock.close()
            each._sock = None
    if below is not None:
        transport._closed = True


def fields(request: WireRequest) -> list[tuple[str, str]]:
    """
    All header lines, credential, host and length included. Make them when you send and keep them nowhere.

    Raises:
        ConfigError: If the key was configured for another origin.
    """
    scheme, _, authority = request.origin.partition("://")
    lines = [("host", authority.removesuffix(":443") if scheme == "https" else authority.removesuffix(":80"))]
    if request.method != "GET":
        lines.append(("content-length", str(len(request.body))))
    lines += request.headers
    credential = request.credential
    if credential is not None:
        if credential.origin != request.origin:
            raise ConfigError(
                f"the key was configured for {credential.origin} and is not sent to {request.origin}; "
                "give the other origin a key of its own"
            )
        lines += credential.lines(request)
    return lines


def head(request: WireRequest) -> list[tuple[bytes, bytes]]:
    """
    The same as bytes.

    Raises:
        ConfigError: As above.
        BadRequest: If a header cannot be written.
    """
    try:
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields(request)]
    except UnicodeEncodeError as error:
        raise BadRequest(f"a header holds characters that HTTP cannot carry: {error.reason}") from None


class Body:
    """
    Counts and unpacks a body as it arrives.

    Args:
        encoding: The response's `content-encoding`.
        limit: Largest decoded size in bytes.
    """

    __slots__ = ("_decoded", "_inflate", "_limit", "_wire")

    def __init__(self, encoding: str, limit: int) -> None:
        self._limit = limit
        self._decoded = self._wire = 0
        self._inflate: zlib._Decompress | None = None
        if encoding and encoding != "identity":
            if encoding not in ("gzip", "x-gzip", "deflate"):
                raise ProtocolError(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
            self._inflate = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, told apart by the header

    def feed(self, data: bytes) -> bytes:
        """
        The decoded bytes.

        Raises:
            ProtocolError: Over the limit, a bomb, or not what the header says.
        """
        if self._inflate is not None and data:
            data = self._inflated(data, self._inflate)
        self._decoded += len(data)
        if self._decoded > self._limit:
            raise ProtocolError(f"the answer is larger than {self._limit} bytes")
        return data

    def _inflated(self, data: bytes, inflate: zlib._Decompress) -> bytes:
        self._wire += len(data)
        parts: list[bytes] = []
        size = self._decoded
        try:
            while data:
                part = inflate.decompress(data, INFLATE_STEP_BYTES)
                size += len(part)
                parts.append(part)
                packed = self._wire - len(inflate.unconsumed_tail)
                bomb = size > INFLATE_FREE_BYTES and size > INFLATE_RATIO_MAX * packed
                if bomb or size > self._limit:
                    raise ProtocolError("the answer unpacks to far more than was sent")
                data = inflate.unconsumed_tail
                if inflate.unused_data:
                    raise ProtocolError("the answer goes on behind the end of its packed data")
        except zlib.error as error:
            raise ProtocolError(f"the answer cannot be unpacked: {error}") from None
        return b"".join(parts)

    def end(self) -> None:
        """
        The body has ended.

        Raises:
            ConnectionFailed: If it ended in the middle of packed data.
        """
        if self._inflate is not None and self._wire and not self._inflate.eof:
            raise ConnectionFailed("the answer ended in the middle of its packed data")


class Untrusted(ProtocolError):
    """The other side could not prove who it is. Asking again changes nothing."""

    again = False
    begun = False
    kind = "tls_error"


def tls_failure(error: BaseException, where: str) -> ProtocolError:
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    return Untrusted(f"the TLS connection to {where} was refused: {reason}")


def untraced(error: BaseException, problem: BaseException) -> BaseException:
    """
    Our word for an error, after the frames that the error came through are forgotten: those of the libraries hold the
    head of the request, and so the key. A surprise, for which there is no word of ours, keeps them.
    """
    if problem is not error or not isinstance(error, Exception):
        error.__traceback__ = error.__cause__ = error.__context__ = None
    return problem


class Headers(Mapping[str, str]):
    """
    An answer's headers: names in lower case, repeated ones joined with a comma as RFC 9110 has it.

    They are decoded when somebody looks; most calls look at two out of twenty.
    """

    __slots__ = ("_lines",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._lines: dict[bytes, bytes] = {}
        lines = self._lines
        for name, value in raw:
            key = name.lower()
            lines[key] = lines[key] + b", " + value if key in lines else value

    def __getitem__(self, name: str) -> str:
        return self._lines[name.encode("latin-1")].decode("latin-1")

    def get(self, key: str, default: Any = None, /) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Mapping's own goes through an exception where there is no such header, and most calls ask for five that are not.
        line = self._lines.get(key.encode("latin-1"))
        return default if line is None else line.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.encode("latin-1", "replace") in self._lines

    def __repr__(self) -> str:
        # An answer may set a cookie or echo a key.
        return f"<Headers {', '.join(self)}>"
