"""From the images of a request to their outputs: admitted, decoded beside the event loop, ready before a deadline."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kzoo.data.images import Decoding
from kzoo.serving.errors import BadRequest, Busy, TooLate
from kzoo.serving.limits import Limits
from kzoo.serving.metrics import Metrics
from kzoo.serving.repository import Loaded
from kzoo.serving.requests import Asked, check_files, decoded
from kzoo.serving.runners import Outputs

_SMALL_BYTES = 1 << 18  # what is read at once: to hand it to a thread would take as long

Result = TypeVar("Result")


class Deadline:
    """When a request is given up.

    Args:
        seconds: Number, from now.
        timeout: The `asyncio.Timeout` that gives it up.
    """

    def __init__(self, seconds: float, timeout: asyncio.Timeout) -> None:
        self.seconds = seconds
        self._start = asyncio.get_running_loop().time()
        self._timeout = timeout

    def bring_forward(self, seconds: float | None) -> None:
        """Gives it up so many seconds after it began, unless that is later than it would be."""
        if seconds is not None and seconds < self.seconds:
            self.seconds = seconds
            self._timeout.reschedule(self._start + seconds)


class Room:
    """Pixels that may be decoded at once, by all requests together.

    Args:
        pixels: Integer, how many.
    """

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._given = asyncio.Event()

    async def take(self, pixels: int) -> None:
        """Waits until that many are free. Small images go past large ones, which wait for one another."""
        while pixels > self._free:
            self._given.clear()
            await self._given.wait()
        self._free -= pixels

    def give(self, pixels: int) -> None:
        """Gives back what was taken."""
        self._free += pixels
        self._given.set()


class Predictions:
    """Answers requests for predictions.

    Args:
        limits: The `Limits`.
        metrics: The `Metrics`.
        threads: Integer, how many files are decoded at once.
    """

    def __init__(self, limits: Limits, metrics: Metrics, threads: int) -> None:
        self._limits, self._metrics = limits, metrics
        self._in_progress = 0
        self._room = Room(limits.request_pixels)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "decode")

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request among those in progress.

        Raises:
            Busy: If there are as many as may be.
        """
        if self._in_progress >= self._limits.queue:
            raise Busy(f"{self._limits.queue} requests are in progress, as many as may be. Come again later.")
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    @contextlib.asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[Deadline]:
        """Gives up what is done in it once the deadline has passed.

        Args:
            seconds: Number, within which the request wants its answer; the server's own limit holds too. `None` leaves
                it to that.

        Raises:
            TooLate: If that takes longer.
        """
        seconds = self._limits.deadline_seconds if seconds is None else min(seconds, self._limits.deadline_seconds)
        timeout = asyncio.timeout(seconds)
        deadline = Deadline(seconds, timeout)
        try:
            async with timeout:
                yield deadline
        except TimeoutError:
            raise TooLate(f"The answer was not ready within {deadline.seconds:g} seconds.") from None

    async def read(self, body: bytes, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls what reads a body: at once where that is small, beside the event loop where it is large."""
        if len(body) <= _SMALL_BYTES:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def outputs(self, loaded: Loaded, asked: Asked) -> Outputs:
        """Computes the outputs for the images that a request asks about.

        Args:
            loaded: The version to ask.
            asked: The `Asked`.

        Raises:
            BadRequest: If a file cannot be decoded, or the export takes integers alone and these are others.
        """
        if asked.images is not None:
            images = _of_kind(asked.images, loaded)
        else:
            images = await self._decoded(asked.files, loaded.model.decoding)
        return await loaded.answerer.answer(images)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()

    def _count(self, change: int) -> None:
        self._in_progress += change
        self._metrics.in_progress(self._in_progress)

    async def _decoded(self, files: Sequence[bytes], decoding: Decoding) -> npt.NDArray[np.uint8]:
        """Decodes files one after another, so that a request of many large ones takes turns with others."""
        loop = asyncio.get_running_loop()
        sizes = await loop.run_in_executor(self._pool, check_files, files, self._limits)
        images = []
        for index, (file, size) in enumerate(zip(files, sizes, strict=True)):
            await self._room.take(size)
            image = self._pool.submit(decoded, file, index, decoding)
            # A thread decodes to the end even what was given up, and needs its memory until then.
            image.add_done_callback(lambda _, size=size: loop.call_soon_threadsafe(self._room.give, size))  # type: ignore[misc]
            images.append(await asyncio.wrap_future(image))
        return np.stack(images)


def _of_kind(images: npt.NDArray[Any], loaded: Loaded) -> npt.NDArray[Any]:
    """Returns images in what the model takes: floats that are whole numbers are integers to it."""
    if images.dtype == np.uint8 or loaded.model.predict_floats is not None:
        return images
    if not np.array_equal(images, whole := images.astype(np.uint8)):
        raise BadRequest(
            f"Version {loaded.model.version} of {loaded.model.name} ({loaded.model.format}) takes whole numbers alone. "
            "Received: fractions. A SavedModel or an export for OpenVINO takes those too."
        )
    return whole
