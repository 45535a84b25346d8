"""Connections that send or read slowly, or send more headers than any request has, and more than there may be."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kzoo.serving.limits import Limits

_HEADER_BYTES = 1 << 16


def limited(limits: Limits) -> type[HttpToolsProtocol]:
    """Returns the class of connections for uvicorn that holds to the limits."""

    class Limited(HttpToolsProtocol):
        """A connection whose requests must begin, and whose answers must be read, in time.

        uvicorn itself waits for ever, for the end of headers and for a client that does not read.
        """

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.headers_due: asyncio.TimerHandle | None = None
            self.header_bytes = 0
            self.reading_due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=0)  # whatever waits to be read pauses writing, however little
            if len(self.connections) > limits.connections:
                transport.abort()
            else:
                self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            self._expect_no_reading()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._is_idle() and self.headers_due is None:
                self._expect_headers()
            if self.headers_due is not None:
                if self.header_bytes > _HEADER_BYTES:
                    self.transport.abort()
                    return
                self.header_bytes += len(data)
            super().data_received(data)
            if not self._is_idle():
                self._expect_nothing()

        def on_response_complete(self) -> None:
            self._expect_nothing()  # uvicorn gives an idle connection its time
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._expect_no_reading()
            self.reading_due = self.loop.call_later(limits.body_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._expect_no_reading()
            super().resume_writing()

        def _is_idle(self) -> bool:
            """Whether no request has begun, or the last one is answered."""
            return self.cycle is None or self.cycle.response_complete

        def _expect_headers(self) -> None:
            self.header_bytes = 0
            self.headers_due = self.loop.call_later(limits.header_seconds, self._late)

        def _expect_nothing(self) -> None:
            if self.headers_due is not None:
                self.headers_due.cancel()
                self.headers_due = None

        def _expect_no_reading(self) -> None:
            if self.reading_due is not None:
                self.reading_due.cancel()
                self.reading_due = None

        def _late(self) -> None:
            self.headers_due = None
            if self._is_idle():
                self.transport.abort()

    return Limited
