"""From the images of a request to their outputs: admitted, decoded beside the event loop, ready before a deadline."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kzoo.serving.errors import BadRequest, Busy, TooLate
from kzoo.serving.limits import Limits
from kzoo.serving.metrics import Metrics
from kzoo.serving.repository import Loaded
from kzoo.serving.requests import Asked, check_files, decoded
from kzoo.serving.runners import Outputs

_SMALL_BYTES = 1 << 18  # what is read at once: to hand it to a thread would take as long

Result = TypeVar("Result")


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

    async def read(self, body: bytes, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls what reads a body: at once where that is small, beside the event loop where it is large."""
        if len(body) <= _SMALL_BYTES:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def outputs(self, loaded: Loaded, asked: Asked, seconds: float | None = None) -> Outputs:
        """Computes the outputs for the images that a request asks about.

        Args:
            loaded: The version to ask.
            asked: The `Asked`.
            seconds: Number, within which the request wants its answer; the server's own limit holds too. Defaults to
                `None`, the server's alone.

        Raises:
            BadRequest: If a file cannot be decoded, or the export takes integers alone and these are others.
            TooLate: If that takes longer.
        """
        seconds = min(self._limits.deadline_seconds, self._limits.deadline_seconds if seconds is None else seconds)
        try:
            async with asyncio.timeout(seconds):
                images = await self._pixels(loaded, asked)
                return await loaded.answerer.answer(images)
        except TimeoutError:
            raise TooLate(f"The answer was not ready within {seconds:g} seconds.") from None

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()

    def _count(self, change: int) -> None:
        self._in_progress += change
        self._metrics.in_progress(self._in_progress)

    async def _pixels(self, loaded: Loaded, asked: Asked) -> npt.NDArray[Any]:
        if asked.images is not None:
            return _of_kind(asked.images, loaded)
        loop, decoding = asyncio.get_running_loop(), loaded.model.decoding
        await loop.run_in_executor(self._pool, check_files, asked.files, self._limits)
        # One after another, so that a request of many large files takes turns with others.
        return np.stack(
            [
                await loop.run_in_executor(self._pool, decoded, file, index, decoding)
                for index, file in enumerate(asked.files)
            ]
        )


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
