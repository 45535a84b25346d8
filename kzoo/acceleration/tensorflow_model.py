"""Functional models on TensorFlow."""

from kzoo.acceleration import tensorflow_batches
from kzoo.acceleration.arrays import TakesPipelines


class AcceleratedModel(TakesPipelines):
    """Functional model whose data come through pipelines that are not tuned."""

    _kzoo_batches = tensorflow_batches
