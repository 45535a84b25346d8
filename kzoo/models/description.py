"""What a model costs and sees: parameters, multiply-adds, receptive field."""

import dataclasses
import math
from typing import Any

import keras

from kzoo.acceleration.names import maker
from kzoo.arguments import instance
from kzoo.layers import Conv2D
from kzoo.models.registry import create_model


@dataclasses.dataclass(frozen=True)
class LayerDescription:
    """One layer of a model.

    Attributes:
        name: The layer's name.
        kind: Its class.
        output_shape: Shape without the batch axis.
        parameters: Number of trainable weights' elements.
        multiply_adds: Multiplications with an addition, for one image. Convolutions and dense layers only.
        receptive_field: Side in pixels of the square of the input that one output position depends on.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int


@dataclasses.dataclass(frozen=True)
class Description:
    """A model and its layers.

    Attributes:
        model: The model's name.
        input_shape: `(height, width, channels)`.
        parameters: Number of trainable weights' elements.
        non_trainable: The same of the others: moving averages, input normalization, dropout steps.
        multiply_adds: Multiplications with an addition, for one image.
        receptive_field: Side in pixels of the square that one position of the last feature map depends on, from the
            kernels and strides alone: it may exceed the image.
        layers: One `LayerDescription` a layer, in order.

    Example:
        >>> found = kzoo.describe("resnet20")
        >>> found.multiply_adds, found.receptive_field
        (40551040, 81)
    """

    model: str
    input_shape: tuple[int | None, ...]
    parameters: int
    non_trainable: int
    multiply_adds: int
    receptive_field: int
    layers: tuple[LayerDescription, ...]


def describe(model: str | keras.Model) -> Description:
    """Describes a model.

    Args:
        model: A name from `list_models()`, or a functional `keras.Model` of images.

    Returns:
        A `Description`.

    Raises:
        ValueError: If there is no model of that name.

    Example:
        >>> kzoo.describe("resnet20").parameters
        269722
    """
    if isinstance(model, str):
        model = create_model(model)
    instance(model, "model", keras.Model, "the name of a model, or a keras.Model")
    seen: dict[str, tuple[int, int]] = {}  # layer -> (receptive field, pixels of the input a step of its output spans)
    layers = []
    for layer in model.layers:
        kernel, stride = _window(layer)
        before = [seen[name] for name in _inputs(layer)] or [(1, 1)]
        field = max(size + (kernel - 1) * step for size, step in before)
        seen[layer.name] = (field, before[0][1] * stride)
        layers.append(
            LayerDescription(
                name=layer.name,
                kind=type(layer).__name__,
                output_shape=tuple(layer.output.shape[1:]),
                parameters=_count(layer.trainable_variables),
                multiply_adds=_multiply_adds(layer),
                receptive_field=field,
            )
        )
    return Description(
        model=model.name,
        input_shape=tuple(model.input_shape[1:]),
        parameters=_count(model.trainable_variables),
        non_trainable=_count(model.non_trainable_variables),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        receptive_field=max(layer.receptive_field for layer in layers),
        layers=tuple(layers),
    )


def _inputs(layer: keras.layers.Layer) -> list[str]:
    if isinstance(layer, keras.layers.InputLayer):
        return []
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [maker(tensor).name for tensor in tensors]


def _window(layer: keras.layers.Layer) -> tuple[int, int]:
    """Returns the side of the square that an output position looks at, and the step between positions."""
    if isinstance(layer, Conv2D):
        return layer.kernel_size, layer.stride
    for size in ("kernel_size", "pool_size"):
        if hasattr(layer, size):
            dilation = getattr(layer, "dilation_rate", (1, 1))[0]
            return (getattr(layer, size)[0] - 1) * dilation + 1, layer.strides[0]
    return 1, getattr(layer, "stride", 1)


def _multiply_adds(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    kernel = getattr(layer, "kernel", None)
    if kernel is None or len(kernel.shape) != 4:
        return 0
    height, width = layer.output.shape[1:3]
    return height * width * math.prod(kernel.shape)


def _count(variables: list[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)
