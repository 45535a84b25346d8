"""Takes the batch normalization out of a trained model."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.acceleration.names import inbound_nodes
from kzoo.arguments import instance
from kzoo.folding.fuse import fuse_relu, readers_of
from kzoo.layers import BatchNorm, Conv2D, ScaleShift
from kzoo.models import Model
from kzoo.recursion import deep_recursion

Vector = npt.NDArray[np.float64]

_NORMS = (BatchNorm, keras.layers.BatchNormalization)
# Layers whose kernel has the output's channels on its last axis: to scale the output is to scale the kernel.
_LINEAR = (Conv2D, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense)


@deep_recursion()
def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model without batch normalization that predicts the same.

    In inference a batch normalization scales and shifts channels by constants. Where a convolution or a dense layer
    comes before it, and nothing else reads that layer, kernel and bias take them over; elsewhere (the first norm of a
    pre-activation block) a `kzoo.ScaleShift` does. A ReLU after a `kzoo.Conv2D`, and a sum with a residual between
    them, become one operation with it, `kzoo.Conv2DReLU`. An input normalization stays as it is: folded into a
    convolution it would change what the zero padding means. Predictions of finite images differ by rounding alone. The
    result is for inference: trained further, it is a network without normalization.

    Args:
        model: A functional or sequential `keras.Model`, with `BatchNorm` or `keras.layers.BatchNormalization`. It is
            left as it is. Such models inside of it are folded, too. Layers of classes derived from these, or from a
            convolution, may compute something else, and are copied.

    Returns:
        A functional model with weights of its own, not compiled, of the class of `model`; of a sequential one a
        `kzoo.Model`.

    Raises:
        ValueError: If the model, or one inside of it, is neither functional nor sequential, or a normalization acts on
            another axis than the last.

    Example:
        >>> model = kzoo.load_preset("digits/resnet20")
        >>> images = kzoo.load_dataset("digits").test.read([0, 1])
        >>> folded = kzoo.fold_batch_norm(model)
        >>> bool(np.allclose(folded.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-3))
        True

    Reference:
        - [Jacob et al., 2018](https://arxiv.org/abs/1712.05877), section 3.2
    """
    instance(model, "model", keras.Model, "a keras.Model, such as `kzoo.create_model` returns")
    _check(model)
    if isinstance(model, keras.Sequential):
        model = Model(model.inputs[0], model.outputs[0], name=model.name)
    norms = _norms_by_linear_layer(model)
    folded = {norm.name for norm in norms.values()}

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return fold_batch_norm(layer)
        if layer.name in norms:
            return type(layer).from_config({**layer.get_config(), "use_bias": True})
        if type(layer) in _NORMS and layer.name not in folded:
            return ScaleShift(name=layer.name, dtype=layer.dtype_policy)
        return type(layer).from_config(layer.get_config())

    def call(layer: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in folded:
            return inputs
        if isinstance(layer, ScaleShift):
            return layer(inputs)  # not with the arguments of a norm
        return layer(inputs, *args, **kwargs)

    result = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in result.layers:
        if layer.weights and not isinstance(layer, keras.Model):
            layer.set_weights(_weights(model.get_layer(layer.name), norms.get(layer.name)))
    return fuse_relu(result)


def _check(model: keras.Model) -> None:
    if not isinstance(model, keras.Sequential) and not hasattr(model, "operations"):
        raise ValueError(
            "`model`, and models inside of it, must be functional or sequential. "
            f"Received: {model.name!r}, a {type(model).__name__}."
        )
    for layer in model.layers:
        axis = getattr(layer, "axis", -1)
        if isinstance(layer, keras.layers.BatchNormalization) and axis not in (-1, layer.input_spec.ndim - 1):
            raise ValueError(f"Batch normalization must act on the last axis. Received: {layer.name!r}, axis={axis}.")


def _norms_by_linear_layer(model: keras.Model) -> dict[str, Any]:
    """Maps the name of each layer that can take over a normalization to the layer that normalizes."""
    readers = readers_of(model)
    found = {}
    for layer in model.layers:
        if type(layer) not in _LINEAR or len(inbound_nodes(layer)) != 1 or not _is_linear(layer):
            continue
        after = readers.get(id(layer.output), [])
        if len(after) == 1 and type(after[0]) in _NORMS and len(inbound_nodes(after[0])) == 1:
            found[layer.name] = after[0]
    return found


def _is_linear(layer: Any) -> bool:
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    return linear and getattr(layer, "data_format", "channels_last") == "channels_last"


def _weights(layer: Any, norm: Any) -> list[npt.NDArray[Any]]:
    """Returns the weights of what takes a layer's place, with those of `norm` folded into them."""
    if type(layer) in _NORMS:
        return list(_scale_and_shift(layer))
    if norm is None:
        return layer.get_weights()
    scale, shift = _scale_and_shift(norm)
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    bias = keras.ops.convert_to_numpy(layer.bias).astype(np.float64) if layer.use_bias else 0.0
    return [kernel * scale, bias * scale + shift]


def _scale_and_shift(norm: Any) -> tuple[Vector, Vector]:
    """Returns what a normalization does in inference: `x * scale + shift`."""

    def values(variable: Any, default: float) -> Any:
        return default if variable is None else keras.ops.convert_to_numpy(variable).astype(np.float64)

    variance, mean = values(norm.moving_variance, 1.0), values(norm.moving_mean, 0.0)
    scale = values(norm.gamma, 1.0) / np.sqrt(variance + norm.epsilon)
    return scale, values(norm.beta, 0.0) - mean * scale
