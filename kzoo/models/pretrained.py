"""Weights from elsewhere, for models by name."""

import os
from pathlib import Path

import keras

from kzoo.durable import output_path, written_file
from kzoo.models.arguments import Arguments
from kzoo.models.registry import constructor, create_model
from kzoo.presets import classes_of, convert_torch_checkpoint, fetch, layout_named, named_as_weights, weights_info


def fetch_weights(name: str) -> Path:
    """Makes registered weights ready for use without a network: downloads, verifies and converts them.

    Args:
        name: String, one of `kzoo.list_weights()`.

    Returns:
        Path of the `.weights.h5` file. It is there already if that has been done before, and is verified again.

    Raises:
        ValueError: If there are none of that name, or the file on this machine has changed.
        ImportError: If PyTorch is missing, and there is a checkpoint to convert.
        kzoo.download.DownloadError: If there is no network, or what comes is not the file.
    """
    entry = weights_info(name)
    return fetch(entry, lambda: create_model(entry.model))


def import_checkpoint(
    checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], *, model: str, layout: str
) -> keras.Model:
    """Converts a PyTorch checkpoint to a `.weights.h5` file.

    Args:
        checkpoint: Path of the checkpoint.
        out: Path of the file to write, which ends in `.weights.h5`.
        model: Name of the model, one of `kzoo.list_models()`; the layout decides on its shortcut, the checkpoint on its
            number of classes.
        layout: `"akamaster"` or `"chenyaofo"`, see `kzoo.load_torch_checkpoint`.

    Returns:
        The model, with these weights: they have been read back before `out` is replaced.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ImportError: If PyTorch is missing.
        ValueError: If the checkpoint is damaged or does not fit the model, of which the message names the tensor, or
            `out` does not end in `.weights.h5`.
        OSError: If the file cannot be written.
    """
    constructor(model)  # raises what is wrong with the name before anything is read
    shortcut = layout_named(layout).shortcut
    target = output_path(named_as_weights(out))
    form: Arguments = {"classes": classes_of(checkpoint, layout), "shortcut": shortcut}
    with written_file(target) as aside:
        convert_torch_checkpoint(create_model(model, **form), checkpoint, aside, layout=layout)
        return create_model(model, **form | {"weights": aside})
