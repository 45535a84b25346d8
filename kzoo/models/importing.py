"""Weights of other projects, for models by name."""

import os

import keras

from kzoo.durable import output_path, written_file
from kzoo.models.arguments import Arguments
from kzoo.models.registry import constructor, create_model
from kzoo.presets import classes_of, convert_torch_checkpoint, layout_named, named_as_weights


def import_checkpoint(
    checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], *, model: str, layout: str
) -> keras.Model:
    """Converts a PyTorch checkpoint to a `.weights.h5` file.

    Args:
        checkpoint: Path of the checkpoint.
        out: Path of the file to write, which ends in `.weights.h5`.
        model: Name of the model, one of `kzoo.list_models()`; the layout decides on its shortcut, the checkpoint on its
            number of classes.
        layout: `"akamaster"`, `"chenyaofo"` or `"pytorchcv"`, see `kzoo.load_torch_checkpoint`.

    Returns:
        The model, with these weights: they have been read back before `out` is replaced.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ImportError: If PyTorch is missing.
        ValueError: If the checkpoint is damaged or does not fit the model, of which the message names the tensor, or
            `out` does not end in `.weights.h5`.
        OSError: If the file cannot be written.

    Example:
        >>> kzoo.import_checkpoint(
        ...     "resnet20-12fca82f.th", "resnet20.weights.h5", model="resnet20", layout="akamaster"
        ... )  # doctest: +SKIP
    """
    constructor(model)  # raises what is wrong with the name before anything is read
    shortcut = layout_named(layout).shortcut
    target = output_path(named_as_weights(out))
    form: Arguments = {"classes": classes_of(checkpoint, layout), "shortcut": shortcut}
    with written_file(target) as aside:
        convert_torch_checkpoint(create_model(model, **form), checkpoint, aside, layout=layout)
        return create_model(model, **form | {"weights": aside})
