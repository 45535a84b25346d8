"""From waiting requests to batches that a model is asked about, and back."""

import asyncio
import collections
import concurrent.futures
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.serving.limits import Limits
from kzoo.serving.metrics import Metrics
from kzoo.serving.runners import Outputs
from kzoo.serving.runtime import ExportedModel


@dataclasses.dataclass
class _Job:
    """Images that wait to be computed, and who waits for the outputs."""

    images: npt.NDArray[Any]
    outputs: asyncio.Future[Outputs]


class Answerer:
    """Computes the answers of one model, those of several waiting requests at once.

    As many batches are computed at a time as the pool has threads. A batch is what waits when a thread becomes free:
    one request at rest, up to `limits.together` images under load. A request that was given up, since its deadline
    passed or its client went away, is not computed any more.

    Args:
        model: The `ExportedModel`.
        limits: The `Limits`.
        pool: The threads that compute.
        threads: Integer, how many those are.
        metrics: The `Metrics` to count batches in.
    """

    def __init__(
        self,
        model: ExportedModel,
        limits: Limits,
        pool: concurrent.futures.Executor,
        threads: int,
        metrics: Metrics,
    ) -> None:
        self.model = model
        self._limits = limits
        self._pool = pool
        self._metrics = metrics
        self._waiting: collections.deque[_Job] = collections.deque()
        self._arrived = asyncio.Condition()
        self._closing = False
        self._workers = [asyncio.create_task(self._work()) for _ in range(threads)]

    async def answer(self, images: npt.NDArray[Any]) -> Outputs:
        """Waits for the outputs of one request.

        Args:
            images: Array of shape `(batch, height, width, channels)`, uint8 or float32.
        """
        outputs: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(images, outputs))
        async with self._arrived:
            self._arrived.notify()
        return await outputs

    async def close(self) -> None:
        """Computes what waits, then ends the workers."""
        self._closing = True
        async with self._arrived:
            self._arrived.notify_all()
        await asyncio.gather(*self._workers)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while jobs := await self._next():
            images = np.concatenate([job.images for job in jobs]) if len(jobs) > 1 else jobs[0].images
            self._metrics.batch(len(images), len(jobs))
            try:
                outputs = await loop.run_in_executor(self._pool, self.model.answer, images)
            except Exception as error:  # whatever the runtime raises is the answer of these requests alone
                for job in jobs:
                    if not job.outputs.done():
                        job.outputs.set_exception(error)
                continue
            start = 0
            for job in jobs:
                end = start + len(job.images)
                if not job.outputs.done():
                    job.outputs.set_result({name: values[start:end] for name, values in outputs.items()})
                start = end

    async def _next(self) -> list[_Job]:
        """Waits for requests, and returns those to compute at once; none when there will be no more."""
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                if self._closing:
                    return []
                continue  # another worker was faster
            if self._limits.wait_milliseconds and not self._closing:
                await asyncio.sleep(self._limits.wait_milliseconds / 1e3)
            if jobs := self._taken():
                return jobs

    def _taken(self) -> list[_Job]:
        jobs: list[_Job] = []
        room = self._limits.together
        while self._waiting:
            job = self._waiting[0]
            alike = not jobs or job.images.dtype == jobs[0].images.dtype
            if not job.outputs.done():
                if jobs and not (alike and len(job.images) <= room):
                    break
                jobs.append(job)
                room -= len(job.images)
            self._waiting.popleft()
        return jobs
