"""Exports what a training or another project left on disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data import Dataset
from kzoo.export.exporting import BATCHES, Exported, export
from kzoo.models import create_model
from kzoo.training import Run


def export_saved(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    dataset: Dataset | None = None,
    **arguments: Any,
) -> Exported:
    """Exports a run, or a model of the zoo with a weights file.

    It is verified with images of the dataset's test split, one class after another.

    Args:
        source: Path of a run directory, or of a weights file.
        out: As for `export`.
        model: Name of the model that a weights file belongs to.
        dataset: The `Dataset` whose images and class names to use. Defaults to the run's own; a weights file needs one.
        **arguments: As for `export`.

    Returns:
        As `export`.

    Raises:
        ValueError: If a weights file comes without model and dataset, or a run with a model.
        FileNotFoundError: If there is no such run or file.
    """
    path = Path(source)
    if path.is_file() and model is not None and dataset is not None:
        built = create_model(model, weights=path, input_shape=dataset.image_shape, classes=dataset.classes)
        metrics: dict[str, Any] = {}
    elif not path.is_file() and model is None:
        run = Run(path)
        built, dataset = run.load_model(), dataset or run.load_dataset()
        metrics = {"metrics": run.metrics}
    else:
        raise ValueError(
            "Expected a run directory, or a weights file with the name of its model and a dataset. "
            f"Received: source={os.fspath(source)!r}, model={model!r}, dataset={dataset and dataset.name!r}."
        )
    return export(built, out, class_names=dataset.class_names, images=_examples(dataset), card=metrics, **arguments)


def _examples(dataset: Dataset) -> Any:
    """Returns as many images as verification needs, of as many classes as there are."""
    test = dataset.test
    first = [np.flatnonzero(test.labels == label) for label in range(dataset.classes)]
    turns = [indices[turn] for turn in range(max(BATCHES)) for indices in first if turn < len(indices)]
    chosen = (turns * max(BATCHES))[: max(BATCHES)]
    return test.images[np.array(chosen)]
