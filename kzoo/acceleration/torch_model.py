"""Functional models on PyTorch."""

from typing import Any

from kzoo.acceleration import torch_batches, torch_walk
from kzoo.acceleration.arrays import TakesArrays


class AcceleratedModel(TakesArrays):
    """Functional model that runs by a plan made once, and takes arrays as slices."""

    @staticmethod
    def adapt(x: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        return torch_batches.adapt(x, y, sample_weight, **options)

    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return torch_walk.run(self, super()._run_through_graph, inputs, *args, **kwargs)
