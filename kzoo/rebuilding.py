"""Models built anew from a JSON that a stranger may have written.

Keras imports what such a JSON names, and calls any of its own functions and whatever else is registered. Its safe mode
keeps out no more than Python's bytecode. So all of a JSON is compared with the lists below before Keras sees any of it,
and Keras sees nothing but what was compared: no functions, no optimizer, no names of modules but those listed.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kzoo import layers
from kzoo.acceleration.names import inbound_nodes, maker, variables_without_values
from kzoo.acceleration.serialized import FUNCTIONAL, OPERATIONS
from kzoo.arguments import objects
from kzoo.initializers import HeNormal
from kzoo.models.model import Model
from kzoo.recursion import deep_recursion

_OWN = {f"kzoo>{cls.__name__}": cls for cls in (Model, HeNormal, *(getattr(layers, name) for name in layers.__all__))}

# Module -> classes of Keras. Not among them: Lambda and what else calls a function (JaxLayer, FlaxLayer); what holds a
# module (TorchModuleWrapper) or reads a file (TFSMLayer, and by their vocabulary TextVectorization, StringLookup and
# IntegerLookup); what is no part of an image classifier (Hashing, spectrograms); bases of other classes.
_LISTS = {
    "keras": "DTypePolicy FloatDTypePolicy Sequential",
    "keras.constraints": "MaxNorm MinMaxNorm NonNeg UnitNorm",
    "keras.dtype_policies": "DTypePolicyMap",
    "keras.initializers": """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal
        RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
        """,
    "keras.layers": """
        Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
        AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
        AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
        CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
        Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D CutMix
        Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU GRUCell
        GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
        GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity
        InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum
        Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment
        RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform
        RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
        RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
        ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D SimpleRNN
        SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
        StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
        ZeroPadding2D ZeroPadding3D
        """,
    "keras.random": "SeedGenerator",
    "keras.regularizers": "L1 L1L2 L2 OrthogonalRegularizer",
    **FUNCTIONAL,
    **OPERATIONS,
}
_OF_KERAS = {module: frozenset(names.split()) for module, names in _LISTS.items()}
_DATA = ("__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__")

_DEEPEST = 100  # values within each other
_MOST_CALLS = 100_000  # of layers and what they consist of; ResNet-1202 has a tenth of it
_LARGEST_TENSOR = 1 << 28  # numbers, for one image


def rebuilt(architecture: Any, *, weights_bytes: int, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Builds a model, not compiled, from what `model.to_json()` wrote.

    It takes memory when all its sizes are known to be allowed.

    Args:
        architecture: The JSON's content.
        weights_bytes: Integer, size of the file of its weights in bytes: the model has no more numbers.
        custom_objects: Name to class or function, what else the JSON may name, as for `keras.saving`. With any, sizes
            are looked at when the model is there. Defaults to `None`.

    Raises:
        ValueError: If the JSON names something else than layers of Keras, of kzoo or `custom_objects`, Keras cannot
            build it, or it is too large.
    """
    objects(custom_objects)
    custom = dict(custom_objects or {})
    content = _checked(architecture, custom, 0)
    if (calls := _calls(content)) > _MOST_CALLS:
        raise ValueError(f"An architecture must take at most {_MOST_CALLS:,} calls to build. Received: {calls:,}.")
    deferred = contextlib.nullcontext() if custom else variables_without_values()
    with deep_recursion(), keras.saving.custom_object_scope(custom), deferred:
        try:
            model = keras.saving.deserialize_keras_object(content)
        except Exception as error:  # Keras raises whatever a wrong configuration makes it raise
            said = str(_first(error)).partition("\n")[0][:300]
            raise ValueError(f"An architecture must be one that Keras can build. Received: {said}") from error
        if not isinstance(model, keras.Model):
            raise ValueError(f"An architecture must be a model's. Received: {type(model).__name__}.")
        if not custom and not getattr(model, "inputs", None):  # it would be built, and grow, when it is used
            raise ValueError(f"An architecture must say what the model takes. Received: {model.name!r} without inputs.")
        _check_sizes(model, weights_bytes)
    return model


def _checked(value: Any, custom: Mapping[str, Any], depth: int) -> Any:
    """Returns a copy of a JSON's value in which all names are allowed, without what Keras need not see."""
    if depth > _DEEPEST:
        raise ValueError(f"An architecture must be at most {_DEEPEST} values deep. Received: a deeper one.")
    if isinstance(value, list):
        return [_checked(inner, custom, depth + 1) for inner in value]
    if isinstance(value, dict) and "class_name" in value:
        return _checked_object(value, custom, depth + 1)
    if isinstance(value, dict):
        return {name: _checked(inner, custom, depth + 1) for name, inner in value.items()}
    if isinstance(value, str) and value in keras.saving.get_custom_objects() and value not in custom:
        raise _refusal(value, "what is registered in Keras")  # where Keras expects an object, a name will do
    return value


def _checked_object(value: dict[str, Any], custom: Mapping[str, Any], depth: int) -> dict[str, Any]:
    kind, config = value["class_name"], value.get("config")
    if kind in _DATA:
        if isinstance(config, dict) and config.get("dtype") is not None:
            keras.utils.standardize_dtype(config["dtype"])
        return {"class_name": kind, "config": _checked(config, custom, depth)}
    if kind == "function" and isinstance(config, str):
        if config not in custom:
            raise _refusal(config, value.get("module"))
        return {"module": "builtins", "class_name": kind, "registered_name": config, "config": config}
    names = {"module": value.get("module"), "class_name": kind, "registered_name": value.get("registered_name")}
    names = _allowed(names, custom)
    kept = {name: value[name] for name in ("name", "inbound_nodes") if name in value}
    return {**names, **_checked({**kept, "config": config if isinstance(config, dict) else {}}, custom, depth)}


def _allowed(names: dict[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the names of an object as those of one on the lists, so that Keras finds this very one."""
    module, kind, registered = names.values()
    if not all(isinstance(name, str | None) for name in names.values()):
        raise _refusal(kind, module)
    given = next((name for name in (registered, kind) if name in custom), None)
    if given is not None:
        return {"module": module, "class_name": kind, "registered_name": given}
    if registered in _OWN:
        own = _OWN[registered]
        return {"module": own.__module__, "class_name": own.__name__, "registered_name": registered}
    if kind in _OF_KERAS.get(module, ()) and registered in (None, kind):
        return {"module": module, "class_name": kind, "registered_name": None}
    raise _refusal(kind if registered is None else registered, module)


def _refusal(name: Any, module: Any) -> ValueError:
    name, module = str(name)[:100], str(module)[:100]
    return ValueError(
        f"An architecture must be of layers of Keras that run no code of others, and of kzoo's. Received: {name!r} of "
        f"{module!r}. If you trust what it does, name it in Python: `custom_objects={{{name!r}: ...}}`."
    )


def _first(error: BaseException) -> BaseException:
    """Returns the error that others wrap."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _calls(value: Any) -> int:
    """Returns how many layers, and objects in them, are called to build a model: those within others each time."""
    if isinstance(value, list):
        return sum(map(_calls, value))
    if not isinstance(value, dict):
        return 0
    inner = sum(map(_calls, value.values()))
    if "class_name" not in value or value["class_name"] in _DATA:
        return inner
    nodes = value.get("inbound_nodes")
    return (1 + inner) * max(1, len(nodes) if isinstance(nodes, list) else 1)


def _check_sizes(model: keras.Model, weights_bytes: int) -> None:
    numbers = sum(math.prod(variable.shape) for variable in model.variables)
    if numbers > weights_bytes:
        raise ValueError(
            f"The weights of {model.name!r} must be in a file of {weights_bytes:,} bytes. Received: {numbers:,} "
            "numbers in its architecture."
        )
    for tensor in _tensors(model):
        if math.prod(size for size in tensor.shape if size) > _LARGEST_TENSOR:
            raise ValueError(
                f"A tensor of an architecture must have at most {_LARGEST_TENSOR:,} numbers. Received: shape "
                f"{tuple(tensor.shape)} from {maker(tensor).name!r}."
            )


def _tensors(model: keras.Model) -> Iterator[Any]:
    yield from getattr(model, "inputs", ())
    for operation in getattr(model, "operations", model.layers):
        for node in inbound_nodes(operation):
            yield from keras.tree.flatten(node.output_tensors)
        if isinstance(operation, keras.Model):
            yield from _tensors(operation)
