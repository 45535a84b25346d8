"""Weights of PyTorch repositories, into models of kzoo."""

import os
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.download import matches, sha256_of
from kzoo.presets.checkpoint import read_checkpoint
from kzoo.presets.layouts import Layout, layout_named
from kzoo.presets.loading import check_model, named_as_weights, replace_file, structure_of_model

_PUBLISHED = re.compile(r"(?:cifar\d+_)?resnet\d+-([0-9a-f]{8})\.(?:th|pth?)")
_CONV1 = re.compile(r"(stage\d_block\d+)_conv1")


def load_torch_checkpoint(model: keras.Model, path: str | os.PathLike[str], *, layout: str) -> None:
    """Loads a PyTorch checkpoint into a built ResNet, all of it or nothing.

    Every tensor of the file is used exactly once, besides the counters `num_batches_tracked`. Running statistics are
    carried over, and the model's input normalization becomes the one that the repository trains with. A file that has
    its published name, such as `resnet20-12fca82f.th`, must have the SHA-256 that the name says.

    Args:
        model: A `kzoo.resnet` of order `"classic"`, with the layout's shortcut and the checkpoint's number of classes.
        path: Path of the checkpoint, a state dict, alone or as the entry `state_dict`. It is read with
            `weights_only=True`.
        layout: `"akamaster"` (github.com/akamaster/pytorch_resnet_cifar10; `shortcut="pad"`), `"chenyaofo"`
            (github.com/chenyaofo/pytorch-cifar-models; `shortcut="projection"`, 10 or 100 classes) or `"pytorchcv"`
            (github.com/osmr/imgclsmob; `shortcut="projection"`).

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If PyTorch is missing. The backend in use may be any.
        ValueError: If the file is damaged or does not fit the model. The message names the tensor.

    Example:
        >>> model = kzoo.resnet56()
        >>> kzoo.load_torch_checkpoint(model, "resnet56-4bfd9763.th", layout="akamaster")  # doctest: +SKIP
    """
    values = converted(model, path, layout)
    for variable in model.weights:
        if variable.path in values:
            variable.assign(values[variable.path])


def convert_torch_checkpoint(
    model: keras.Model, path: str | os.PathLike[str], out: str | os.PathLike[str], *, layout: str
) -> None:
    """Writes a PyTorch checkpoint as a `.weights.h5` file, which needs no PyTorch. The model's weights stay.

    Args:
        model: As for `load_torch_checkpoint`.
        path: Path of the checkpoint.
        out: Path of the file to write.
        layout: As for `load_torch_checkpoint`.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ImportError: If PyTorch is missing.
        ValueError: If the checkpoint is damaged or does not fit the model, or `out` does not end in `.weights.h5`.
    """
    out = named_as_weights(out)
    values = converted(model, path, layout)
    structure = structure_of_model(model)
    tensors = {}
    for key, slot in structure.slots.items():
        variable = model.get_layer(slot.layer).weights[int(key.rpartition("/")[2])]
        initial = keras.ops.convert_to_numpy(variable)
        tensors[key] = values.get(variable.path, initial)
    replace_file(out, structure.groups, tensors)


def converted(model: keras.Model, path: str | os.PathLike[str], layout: str) -> dict[str, npt.NDArray[Any]]:
    """Returns a checkpoint's tensors by the paths of the model's variables, in Keras's order of axes."""
    names = layout_named(layout)
    check_model(model)
    check_form(model)
    state = read_checkpoint(path)
    try:
        values = _values(model, state, names)
    except ValueError as error:
        raise ValueError(f"{path} does not hold weights of {model.name!r} in the layout {layout!r}: {error}") from None
    if (match := _PUBLISHED.fullmatch(Path(path).name)) and not matches(received := sha256_of(path), match[1]):
        raise ValueError(f"{path} is damaged: it must have the SHA-256 {match[1]}, by its name. Received: {received}.")
    return values


def classes_of(path: str | os.PathLike[str], layout: str) -> int:
    """Returns the number of classes that a checkpoint is for.

    Raises:
        ValueError: If it has no classifier of that layout.
    """
    classifier = layout_named(layout).classifier
    for name, tensor in read_checkpoint(path).items():
        if name.removeprefix("module.") == f"{classifier}.bias" and tensor.ndim == 1:
            return len(tensor)
    raise ValueError(f"{path} must have a tensor {classifier}.bias, with one value a class. Received: none.")


def tensors_of(model: keras.Model, layout: Layout) -> dict[str, Any]:
    """Returns the variables of a model by the names that they have in a layout, all but the input normalization."""
    found = {}
    for variable in model.weights:
        if name := layout.name_of(variable.path):
            found[name] = variable
        elif not variable.path.startswith("normalization/") and not variable.path.endswith("_dropout/step"):
            raise ValueError(f"the layout has no tensor for the model's {variable.path!r}.")
    return found


def axes_of(variable: Any) -> tuple[int, ...]:
    """Returns the axes of a variable in the order in which PyTorch has them."""
    kernel = variable.path.endswith("/kernel")
    return {4: (3, 2, 0, 1), 2: (1, 0)}[len(variable.shape)] if kernel else (0,)


def check_form(model: keras.Model) -> None:
    """Other forms have tensors of the same names and shapes, and would take what they then misuse."""
    layers = {layer.name: layer for layer in model.layers}
    blocks = [match[1] for name in layers if (match := _CONV1.fullmatch(name))]
    for block in blocks:
        last = layers.get(f"{block}_relu2")
        if f"{block}_add" not in layers or last is None or last.input is not layers[f"{block}_add"].output:
            break
    else:
        if blocks and "stem_norm" in layers:
            return
    raise ValueError(
        "`model` must be a kzoo.resnet of order 'classic', with shortcuts and batch normalization. "
        f"Received: {model.name!r}."
    )


def _values(model: keras.Model, state: dict[str, Any], layout: Layout) -> dict[str, npt.NDArray[Any]]:
    prefix = "module." if all(name.startswith("module.") for name in state) else ""  # of DataParallel
    values: dict[str, npt.NDArray[Any]] = {}
    wanted = {prefix + name: variable for name, variable in tensors_of(model, layout).items()}
    for name in wanted:
        if name not in state:
            raise ValueError(f"{name} is missing.")
    for name, tensor in state.items():
        if name in wanted:
            values[wanted[name].path] = _array(name, tensor, wanted[name])
        elif not _is_counter(name, tensor, wanted):
            raise ValueError(f"{name} is left over: the model has no such tensor.")
    normalization = next((layer for layer in model.layers if layer.name == "normalization"), None)
    if normalization is not None:
        mean, std = layout.statistics_for(model.output_shape[-1])
        values |= {"normalization/mean": np.asarray(mean, "float32"), "normalization/std": np.asarray(std, "float32")}
    return values


def _array(name: str, tensor: Any, variable: Any) -> npt.NDArray[Any]:
    """Returns a tensor with its axes in Keras's order."""
    to_torch = axes_of(variable)
    expected = tuple(variable.shape[axis] for axis in to_torch)
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{name} must have shape {expected}. Received: {tuple(tensor.shape)}.")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in ("float16", "float32", "float64"):
        raise ValueError(f"{name} must be float16, float32, float64. Received: {dtype}.")
    value = tensor.detach().numpy()
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must hold finite numbers. Received: {value[~np.isfinite(value)][0]}.")
    if name.endswith("running_var") and (value < 0).any():
        raise ValueError(f"{name} must hold variances, 0 or larger. Received: {value.min()}.")
    return np.ascontiguousarray(value.transpose(np.argsort(to_torch)))


def _is_counter(name: str, tensor: Any, wanted: dict[str, Any]) -> bool:
    """Tells whether this is the number of training steps that a batch normalization of the model has seen."""
    module, _, variable = name.rpartition(".")
    return variable == "num_batches_tracked" and f"{module}.running_mean" in wanted and tensor.ndim == 0
