"""Functional models on TensorFlow."""

from typing import Any

from kzoo.acceleration import tensorflow_batches
from kzoo.acceleration.arrays import TakesArrays


class AcceleratedModel(TakesArrays):
    """Functional model whose data come through pipelines that are not tuned."""

    @staticmethod
    def adapt(x: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        return tensorflow_batches.adapt(x, y, sample_weight, **options)
