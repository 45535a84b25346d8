"""Functional models on TensorFlow."""

from typing import Any

from kzoo.acceleration import tensorflow_batches
from kzoo.acceleration.arrays import TakesPipelines


class AcceleratedModel(TakesPipelines):
    """Functional model whose data come through pipelines that are not tuned."""

    def _kzoo_call(self, name: str, method: Any, args: Any, kwargs: Any) -> Any:
        if not tensorflow_batches.ACCELERATION.is_active():
            return method(*args, **kwargs)
        return super()._kzoo_call(name, method, args, kwargs)

    @staticmethod
    def _kzoo_pipeline(x: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        return tensorflow_batches.pipeline(x, y, sample_weight, **options)
