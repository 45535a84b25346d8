"""Keeps what no model should see away from it: bodies too large or too slow, and requests that change the server."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_BODY_SECONDS = 30
_DRAINED_BYTES = 256 << 20


class Guard:
    """ASGI middleware: reads the body whole, up to a limit, before the application starts.

    Args:
        app: The application.
        body_bytes: Integer, the largest body.
    """

    def __init__(self, app: Application, body_bytes: int) -> None:
        self.app = app
        self.body_bytes = body_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].startswith("/v2/repository"):
            await _refuse(send, 403, "Models can be neither loaded nor unloaded over HTTP.")
        else:
            await self._read_and_pass(scope, receive, send)

    async def _read_and_pass(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._body(receive)
        except TimeoutError:
            await _refuse(send, 408, f"The body must arrive within {_BODY_SECONDS} seconds.")
            return
        if body is None:
            await _refuse(send, 413, f"The body must have at most {self.body_bytes:,} bytes.")
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self.app(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """Returns the body, or `None` where it is too large.

        What is too large is read on and dropped, as far as is decent: a client that still writes cannot read an answer.
        """
        chunks: list[bytes] = []
        size, more = 0, True
        while more and size <= max(_DRAINED_BYTES, self.body_bytes):
            message = await receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self.body_bytes:
                chunks.append(chunk)
            else:
                chunks.clear()
            more = message.get("more_body", False)
        return b"".join(chunks) if size <= self.body_bytes else None


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
