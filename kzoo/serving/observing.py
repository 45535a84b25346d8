"""Gives each request its id, counts it, logs it, and answers for what went wrong in the server itself."""

import logging
import re
import time
import uuid
from typing import Any

from kzoo.serving.errors import failed
from kzoo.serving.guard import Application, Message, Receive, Send, answer_error
from kzoo.serving.logs import REQUESTS
from kzoo.serving.metrics import Metrics

_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class Observed:
    """ASGI middleware, the outermost.

    Args:
        app: The application.
        metrics: The `Metrics`.
    """

    def __init__(self, app: Application, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _id_of(scope)
        seen: dict[str, Any] = {"request_id": request_id, "model": "", "version": ""}
        seen |= {"images": 0, "bytes_in": 0, "bytes_out": 0, "status": 499}
        scope["kzoo"] = seen

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            else:
                seen["bytes_out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:  # Starlette raises again what it has answered
            logging.getLogger("kzoo.serving").exception("Request %s ended in an error", request_id)
            if seen["status"] == 499:
                await answer_error(watched, failed(request_id))
        finally:
            self._note(scope, time.perf_counter() - start)

    def _note(self, scope: Message, seconds: float) -> None:
        seen = scope["kzoo"]
        endpoint = scope.get("endpoint")
        route = f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}" if endpoint else "none"
        self._metrics.request(route, seen["model"], seen["version"], seen["status"], seconds, seen["images"])
        about = {
            "client": scope["client"][0] if scope.get("client") else "",
            "method": scope["method"],
            "path": scope.get("raw_path", b"").decode("latin-1")[:500],
            "milliseconds": round(1e3 * seconds, 2),
            **seen,
        }
        REQUESTS.info("request", extra={"request": about})


def _id_of(scope: Message) -> str:
    """Returns the id that a request brings, if it is one, or a new one."""
    given: bytes = dict(scope["headers"]).get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else str(uuid.uuid4())
