"""Gradients of one's own on TensorFlow that go when their graph goes.

For each call of a `tf.custom_gradient` in a graph TensorFlow registers a function under a new name, for good. That
function holds tensors of the graph, so no graph of a training is ever freed: 14 MB for each small one.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from kzoo.acceleration.registry import Acceleration, find

_REGISTRY = "tensorflow.python.framework.ops:gradient_registry"
_ENTRIES = f"{_REGISTRY}._registry"


def custom_gradient(function: Callable[..., Any], gradient: Callable[..., Any]) -> Callable[..., Any]:
    """Does what `tf.custom_gradient` does, and lets graphs be freed.

    Args:
        function: Function from tensors to a tensor, or to a tuple of tensors.
        gradient: Function from those tensors, the results and the results' slopes, a sequence each, to the slopes of
            the tensors: of each a tensor, or `None`. It may hold no tensors itself.
    """

    @tf.custom_gradient
    def with_gradient(*tensors: Any) -> Any:
        results = function(*tensors)
        return results, lambda *slopes: gradient(tensors, tf.nest.flatten(results), slopes)

    @functools.wraps(function)
    def call(*tensors: Any) -> Any:
        results = with_gradient(*tensors)
        if not tf.executing_eagerly() and ACCELERATION.is_active():
            _free_from_graph(tf.nest.flatten(results), gradient)
        return results

    return call


def _free_from_graph(results: Sequence[Any], gradient: Callable[..., Any]) -> str:
    """Registers a gradient in the place of the one that holds tensors of a graph, as long as there is the graph."""
    identity, count = results[0].op, len(results)  # of the results, then of what they were computed from
    name: str = identity.get_attr("_gradient_op_type").decode()
    entries = find(_ENTRIES)

    def registered(operation: Any, *slopes: Any) -> list[Any]:
        tensors = list(operation.inputs)
        return [None] * count + list(gradient(tensors[count:], tensors[:count], slopes[:count]))

    entries[name]["type"] = registered
    weakref.finalize(identity.graph, entries.pop, name, None)
    return name


def _check() -> bool:
    names = []

    @tf.custom_gradient
    def double(x: Any) -> Any:
        return 2 * x, lambda slope: 3 * slope

    @tf.function(autograph=False)
    def slope(x: Any) -> Any:
        y = double(x)
        names.append(_free_from_graph([y], lambda tensors, results, slopes: [4 * slopes[0] + tensors[0] - results[0]]))
        return tf.gradients(y, x)[0]

    return bool(slope(tf.constant(1.0)) == 3) and names[0] in find(_ENTRIES)


ACCELERATION = Acceleration(
    "gradients go with their graph",
    does="what TensorFlow registers for kzoo's own gradients is freed with the graph that it belongs to",
    brings="14 MB that each small training would keep for good",
    versions={"tensorflow": ">=2.21,<2.22"},
    needs=(_REGISTRY, _ENTRIES),
    check=_check,
)
