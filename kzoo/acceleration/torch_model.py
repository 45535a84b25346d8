"""Functional models on PyTorch."""

from typing import Any

from kzoo.acceleration import torch_walk
from kzoo.acceleration.torch_workers import WorksInTeams


class AcceleratedModel(WorksInTeams):
    """Functional model that runs by a plan made once, and may be of several workers."""

    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return torch_walk.run(self, super()._run_through_graph, inputs, *args, **kwargs)
