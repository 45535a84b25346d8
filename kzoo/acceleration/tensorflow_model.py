"""Functional models on TensorFlow."""

from kzoo.acceleration import tensorflow_batches
from kzoo.acceleration.arrays import TakesPipelines
from kzoo.acceleration.tensorflow_workers import WorksInTeams


class AcceleratedModel(WorksInTeams, TakesPipelines):
    """Functional model whose data come through pipelines that are not tuned, and that may be of several workers."""

    _kzoo_batches = tensorflow_batches
