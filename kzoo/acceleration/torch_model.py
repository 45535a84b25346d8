"""Functional models on PyTorch."""

from typing import Any

from kzoo.acceleration import torch_batches, torch_walk
from kzoo.acceleration.arrays import TakesPipelines


class AcceleratedModel(TakesPipelines):
    """Functional model that runs by a plan made once, and takes arrays as slices."""

    def _kzoo_call(self, name: str, method: Any, args: Any, kwargs: Any) -> Any:
        if not torch_batches.ACCELERATION.is_active():
            return method(*args, **kwargs)
        return super()._kzoo_call(name, method, args, kwargs)

    @staticmethod
    def _kzoo_pipeline(x: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        return torch_batches.pipeline(x, y, sample_weight, **options)

    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return torch_walk.run(self, super()._run_through_graph, inputs, *args, **kwargs)
