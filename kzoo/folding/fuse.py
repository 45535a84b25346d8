"""Joins convolutions with what follows them."""

from typing import Any, NamedTuple

import keras

from kzoo.acceleration.names import inbound_nodes
from kzoo.layers import Add, Conv2D, Conv2DReLU, ReLU


class _Fusion(NamedTuple):
    add: Any  # the layer that adds a residual, or None
    position: int  # of the convolution among what is added
    relu: Any


def fuse_relu(model: keras.Model) -> keras.Model:
    """Returns a functional model in which `kzoo.Conv2DReLU` does what `kzoo.Conv2D`, a sum of two and a ReLU did.

    Only where nothing else reads what is between them. It takes the convolution's name.
    """
    fusions = _fusions(model)
    ends = {fusion.add.name if fusion.add else name: name for name, fusion in fusions.items()}
    joined = {fusion.relu.name for fusion in fusions.values()}
    waiting: dict[str, Any] = {}

    def clone(layer: Any) -> Any:
        kind = Conv2DReLU if layer.name in fusions else type(layer)
        return kind.from_config(layer.get_config())

    def call(layer: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in joined:
            return inputs
        if layer.name in fusions and fusions[layer.name].add:
            waiting[layer.name] = layer  # until the residual is there
            return inputs
        if layer.name in ends and layer.name not in fusions:
            name = ends[layer.name]
            position = fusions[name].position
            return waiting[name]([inputs[position], inputs[1 - position]])
        return layer(inputs, *args, **kwargs)

    result = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in result.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return result


def readers_of(model: keras.Model) -> dict[int, list[Any]]:
    """Maps the id of each tensor of a functional model to the operations that read it; of an output, to `None` too.

    Not every operation is a layer: `x + y` is one.
    """
    readers: dict[int, list[Any]] = {id(output): [None] for output in model.outputs}
    for operation in model.operations:
        for node in inbound_nodes(operation):
            for tensor in node.input_tensors:
                readers.setdefault(id(tensor), []).append(operation)
    return readers


def _fusions(model: keras.Model) -> dict[str, _Fusion]:
    """Maps the name of each convolution to what it can be joined with."""
    readers = readers_of(model)
    found: dict[str, _Fusion] = {}
    taken = set()
    for layer in model.layers:
        if type(layer) is not Conv2D or len(inbound_nodes(layer)) != 1:
            continue
        following, add, position = _only_reader(readers, layer), None, 0
        if type(following) in (Add, keras.layers.Add) and following.name not in taken:
            (node,) = inbound_nodes(following)
            if len(node.input_tensors) != 2 or following.output.shape != layer.output.shape:
                continue
            add, position = following, [id(tensor) for tensor in node.input_tensors].index(id(layer.output))
            following = _only_reader(readers, add)
        if _is_plain_relu(following):
            found[layer.name] = _Fusion(add, position, following)
            taken |= {add.name} if add else set()
    return found


def _only_reader(readers: dict[int, list[Any]], layer: Any) -> Any:
    """Returns the one operation that reads what a layer gives, or `None`; it reads nothing else another time."""
    (reader,) = readers.get(id(layer.output), []) if len(readers.get(id(layer.output), [])) == 1 else [None]
    return reader if reader is not None and len(inbound_nodes(reader)) == 1 else None


def _is_plain_relu(layer: Any) -> bool:
    if type(layer) not in (ReLU, keras.layers.ReLU):
        return False
    return layer.max_value is None and layer.negative_slope == 0 and layer.threshold == 0
