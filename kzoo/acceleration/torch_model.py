"""Functional models on PyTorch."""

from typing import Any

from kzoo.acceleration import torch_batches, torch_walk
from kzoo.acceleration.arrays import TakesPipelines
from kzoo.acceleration.torch_workers import WorksInTeams


class AcceleratedModel(WorksInTeams, TakesPipelines):
    """Functional model that runs by a plan made once, takes arrays as slices, and may be of several workers."""

    _kzoo_batches = torch_batches

    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return torch_walk.run(self, super()._run_through_graph, inputs, *args, **kwargs)
