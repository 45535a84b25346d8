"""Weights of a ResNet for PyTorch repositories."""

import os

import keras
import numpy as np

from kzoo import arguments
from kzoo.durable import output_path, written_file
from kzoo.presets.checkpoint import require_torch
from kzoo.presets.layouts import layout_named
from kzoo.presets.loading import check_model
from kzoo.presets.torch_import import axes_of, check_form, tensors_of


def save_torch_checkpoint(model: keras.Model, path: str | os.PathLike[str], *, layout: str) -> None:
    """Writes the weights of a ResNet as a PyTorch checkpoint, a state dict that the layout's repository loads.

    It has every tensor of that repository's network, in float32, `num_batches_tracked` as 0. What a state dict has no
    place for does not go with it: the normalization of pixels (`model.get_layer("normalization")`), and class names.

    Args:
        model: A `kzoo.resnet` of order `"classic"`. Layouts with projections at every stage need
            `shortcut="projection"`.
        path: Path of the file to write.
        layout: `"akamaster"`, `"chenyaofo"` or `"pytorchcv"`, as for `kzoo.load_torch_checkpoint`.

    Raises:
        ImportError: If PyTorch is missing. The backend in use may be any.
        ValueError: If the model has no such form.
        OSError: If the file cannot be written.

    Example:
        >>> model = kzoo.load_preset("digits/resnet20")
        >>> kzoo.save_torch_checkpoint(model, "digits.pt", layout="akamaster")  # doctest: +SKIP
    """
    names = layout_named(layout)
    check_model(model)
    check_form(model)
    tensors = tensors_of(model, names)
    projects = any("_shortcut_" in variable.path for variable in tensors.values())
    if names.shortcut == "projection" and not projects:
        raise ValueError(
            f"`model` must have projection shortcuts for the layout {layout!r}. Received: {model.name!r}, without."
        )
    torch = require_torch("Writing")
    state = {}
    for name, variable in tensors.items():
        value = np.asarray(keras.ops.convert_to_numpy(variable), "float32")
        state[name] = torch.tensor(np.ascontiguousarray(value.transpose(axes_of(variable))))
        if name.endswith(".running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    with written_file(output_path(arguments.path(path, "path"))) as aside:
        torch.save(state, aside)
