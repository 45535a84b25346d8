"""Keeps away what no model should see: other hosts' pages, requests without the key, bodies too large or too slow."""

import asyncio
import contextlib
import hmac
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, MutableMapping
from typing import Any

from kzoo.serving.errors import Busy, NoKey, Refused, ServingError, TooLarge, TooSlow, Unsupported
from kzoo.serving.json_bodies import write_json
from kzoo.serving.limits import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_DRAINED_BYTES = 256 << 20  # of a body that is refused
_HELD_BYTES = 256 << 20  # of all bodies that are being read or answered
_OPEN = ("/v2/health/live", "/v2/health/ready")  # for those who start and stop servers, and have no key
_PAGE = ("/", "/page.css", "/page.js", "/docs", "/openapi.json")  # the same for everybody, without a word of a model
_METHODS = b"GET, POST, OPTIONS"
_HEADERS = b"Authorization, Content-Type, Inference-Header-Content-Length, X-API-Key, X-Request-ID, X-Timeout-Seconds"


class Gate:
    """ASGI middleware: looks at where a request is sent to, from which page, and for its key.

    A page of another site can make a browser send requests to a server on the same machine, also by a name of its own
    that leads there (DNS rebinding). So a request must name a host that the server knows, or an address; and if it
    comes from a page, one of this server or of an origin that is allowed.

    Args:
        app: The application.
        hosts: Names of the server, without a port.
        origins: Origins whose pages may ask, such as `https://example.org`.
        key: String that every request must bring, or `None`.
        seconds: Number, within which the body of a request that is refused must arrive.
    """

    def __init__(
        self, app: Application, hosts: Collection[str], origins: Collection[str], key: str | None, seconds: float
    ) -> None:
        self.app = app
        self._seconds = seconds
        self._hosts = {host.lower() for host in hosts} | {"localhost"}
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._key = key

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        try:
            self._check_host(host)
            other = self._other_origin(origin, host)
            if not other or scope["method"] != "OPTIONS":
                self._check_key(scope, headers)
        except ServingError as error:
            with contextlib.suppress(TimeoutError, TooSlow):
                async with asyncio.timeout(self._seconds):
                    async for _ in _arriving(receive, _DRAINED_BYTES):
                        pass
            await answer_error(send, error)
            return
        if not other:
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _allow(send, origin)
        else:
            await self.app(scope, receive, _naming(send, origin))

    def _check_host(self, host: str) -> None:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        if name not in self._hosts and not _is_address(name):
            raise Refused("This server has no such name. The option --allow-host gives it one.")

    def _other_origin(self, origin: str, host: str) -> bool:
        """Returns whether a request comes from a page of another origin that is allowed."""
        if not origin or origin.partition("://")[2] == host:
            return False
        if origin not in self._origins:
            raise Refused("Pages of other origins may not ask this server. The option --allow-origin allows one.")
        return True

    def _check_key(self, scope: Message, headers: dict[bytes, bytes]) -> None:
        if self._key is None or scope["path"] in (*_OPEN, *_PAGE):
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not hmac.compare_digest(given, self._key.encode()):
            message = "This server asks for its key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            raise NoKey(message, {"WWW-Authenticate": "Bearer"})


class Bodies:
    """ASGI middleware: reads the body whole, up to a limit, before the application starts.

    Args:
        app: The application.
        limits: The `Limits`.
    """

    def __init__(self, app: Application, limits: Limits) -> None:
        self.app = app
        self._limits = limits
        self._held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._read(scope, receive, body)
            scope["kzoo"]["bytes_in"] = len(body)
            messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

            async def replay() -> Message:
                return messages.pop() if messages else await receive()

            await self.app(scope, replay, send)
        except ServingError as error:
            await answer_error(send, error, close=True)
        finally:
            self._held -= len(body)

    async def _read(self, scope: Message, receive: Receive, body: bytearray) -> None:
        refusal: ServingError | None = None
        if dict(scope["headers"]).get(b"content-encoding", b"identity").lower() != b"identity":
            refusal = Unsupported("The body must not be compressed.")
        limit, size = self._limits.body_bytes, 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in _arriving(receive, max(_DRAINED_BYTES, limit)):
                    size += len(chunk)
                    if size > limit:
                        refusal = refusal or TooLarge(f"The body must have at most {limit:,} bytes.")
                    elif self._held + len(chunk) > _HELD_BYTES:
                        refusal = refusal or Busy("The bodies of other requests fill the memory. Come again later.")
                    if refusal is None:
                        self._held += len(chunk)
                        body += chunk
        except TimeoutError:
            raise TooSlow(f"The body must arrive within {self._limits.body_seconds:g} seconds.") from None
        if refusal is not None:
            raise refusal


async def _arriving(receive: Receive, most: int) -> AsyncIterator[bytes]:
    """Yields a body as it arrives, up to so many bytes.

    What is refused is read all the same, and dropped: a client that still writes cannot read an answer.
    """
    size, more = 0, True
    while more and size <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise TooSlow("The body must arrive whole.")
        chunk = message.get("body", b"")
        size += len(chunk)
        yield chunk
        more = message.get("more_body", False)


def _is_address(name: str) -> bool:
    """Whether a host is an IP address, which leads to no other machine than it says."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


async def answer_error(send: Send, error: ServingError, *, close: bool = False) -> None:
    """Answers with an error, as JSON."""
    body = write_json({"error": str(error)})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    headers += [(b"connection", b"close")] if close else []
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _naming(send: Send, origin: str) -> Send:
    """Returns a `send` that tells the browser which origin may read the answer."""

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
            exposed = (b"access-control-expose-headers", b"Inference-Header-Content-Length, X-Request-ID")
            message["headers"] = [*message.get("headers", []), allowed, exposed, (b"vary", b"Origin")]
        await send(message)

    return named


async def _allow(send: Send, origin: str) -> None:
    """Answers the question that a browser asks before a request of another origin."""
    headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _HEADERS),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
    ]
    await _naming(send, origin)({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
