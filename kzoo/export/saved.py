"""Exports what a training or another project left on disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data import Dataset
from kzoo.export.exporting import BATCHES, Exported, export
from kzoo.models import create_model
from kzoo.models.resnet import Arguments
from kzoo.training import Run
from kzoo.weights import list_weights, weights_info


def export_saved(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    dataset: Dataset | None = None,
    **arguments: Any,
) -> Exported:
    """Exports a run, or a model of the zoo with a weights file or registered weights.

    It is verified with images of the dataset's test split, one class after another.

    Args:
        source: Path of a run directory or of a weights file, or name of registered weights (`kzoo.list_weights()`).
        out: As for `export`.
        model: Name of the model that the weights belong to. Registered weights know theirs.
        dataset: The `Dataset` whose images and class names to use. Defaults to the run's own; a weights file needs one.
            Registered weights have their own class names, and are verified with digits without a dataset.
        **arguments: As for `export`.

    Returns:
        As `export`.

    Raises:
        ValueError: If a weights file comes without model and dataset, or a run with a model.
        FileNotFoundError: If there is no such run or file.
    """
    path, weights = Path(source), os.fspath(source)
    if not path.exists() and weights in list_weights():
        entry = weights_info(weights)
        form: Arguments = {"weights": weights, "classes": entry.classes}
        if dataset is not None:
            form["input_shape"] = dataset.image_shape
        built = create_model(model or entry.model, **form)
        about: dict[str, Any] = {"class_names": entry.class_names, "card": {"weights": weights}}
    elif path.is_file() and model is not None and dataset is not None:
        built = create_model(model, weights=path, input_shape=dataset.image_shape, classes=dataset.classes)
        about = {"class_names": dataset.class_names}
    elif not path.is_file() and model is None:
        run = Run(path)
        built, dataset = run.load_model(), dataset or run.load_dataset()
        about = {"class_names": dataset.class_names, "card": {"metrics": run.metrics}}
    else:
        raise ValueError(
            "Expected a run directory, or a weights file with the name of its model and a dataset. "
            f"Received: source={weights!r}, model={model!r}, dataset={dataset and dataset.name!r}."
        )
    if dataset is not None:
        about["images"] = _examples(dataset)
    return export(built, out, **about, **arguments)


def _examples(dataset: Dataset) -> Any:
    """Returns as many images as verification needs, of as many classes as there are."""
    test = dataset.test
    first = [np.flatnonzero(test.labels == label) for label in range(dataset.classes)]
    turns = [indices[turn] for turn in range(max(BATCHES)) for indices in first if turn < len(indices)]
    chosen = (turns * max(BATCHES))[: max(BATCHES)]
    return test.images[np.array(chosen)]
