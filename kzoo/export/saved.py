"""Exports what a training or another project left on disk."""

import os
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np

from kzoo.arguments import instance, objects
from kzoo.arguments import path as checked_path
from kzoo.data import Dataset
from kzoo.export.checks import BATCHES
from kzoo.export.exporting import Exported, export_model
from kzoo.export.quantizing import CALIBRATE, MAX_DROP, quantizing_of
from kzoo.models import create_model
from kzoo.training import Run
from kzoo.weights import list_weights, weights_info


def export_saved(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    dataset: Dataset | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    quantize: str | None = None,
    calibrate: int = CALIBRATE,
    max_drop: float = MAX_DROP,
    **arguments: Any,
) -> Exported:
    """Exports a run, or a model of the zoo with a weights file or registered weights.

    It is verified with images of the dataset's test split, one class after another.

    Args:
        source: Path of a run directory or of a weights file, or name of registered weights (`kzoo.list_weights()`).
        out: As for `export_model`.
        model: Name of the model that the weights belong to. Registered weights know theirs.
        dataset: The `Dataset` whose images to use, of the run's classes. Defaults to the run's own. A weights file
            needs one, and takes its class names. Registered weights have class names of their own and take images of
            32x32 pixels, without a dataset digits.
        custom_objects: As of `Run.load_model`; TensorFlow's process must know them too. Defaults to `None`.
        quantize: `"int8"` or `"float16"`, measured on the whole validation split. Defaults to `None`, float32.
        calibrate: Integer, how many training images, chosen by a seed, show int8 the ranges of activations. Defaults to
            `256`.
        max_drop: Number, as for `export_model`. Defaults to `0.01`.
        **arguments: As for `export_model`.

    Returns:
        As `export_model`.

    Raises:
        ValueError: If a weights file comes without model and dataset, a run with a model or with data of other classes,
            or registered weights with images of another size.
        FileNotFoundError: If there is no such run, file or registered name.
    """
    path = checked_path(source, "source")
    weights = os.fspath(source)
    instance(dataset, "dataset", (Dataset, NoneType), "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    objects(custom_objects)
    if not path.exists():
        if weights not in list_weights():
            raise FileNotFoundError(
                f"Expected a run directory, a weights file or one of {list_weights()}. Received: {weights!r}."
            )
        entry = weights_info(weights)
        built = create_model(model or entry.model, weights=weights, classes=entry.classes)
        if dataset is not None and dataset.image_shape != built.input_shape[1:]:
            raise ValueError(
                f"`dataset` must have images of shape {built.input_shape[1:]} for registered weights. "
                f"Received: {dataset.name!r}, of shape {dataset.image_shape}."
            )
        about: dict[str, Any] = {"class_names": entry.class_names, "card": {"weights": weights}}
    elif path.is_file() and model is not None and dataset is not None:
        built = create_model(model, weights=path, input_shape=dataset.image_shape, classes=dataset.classes)
        about = {"class_names": dataset.class_names}
    elif not path.is_file() and model is None:
        run = Run(path)
        dataset = dataset or run.load_dataset(cache=False)
        run.check_classes(dataset)
        built = run.load_model(custom_objects)
        about = {
            "class_names": run.class_names,
            "card": {"metrics": run.metrics},
            "decoding": run.decoding(built),
        }
    else:
        raise ValueError(
            "Expected a run directory, or a weights file with the name of its model and a dataset. "
            f"Received: source={weights!r}, model={model!r}, dataset={dataset and dataset.name!r}."
        )
    if dataset is not None:
        about["images"], labels = _examples(dataset)
        if is_own := tuple(about["class_names"]) == tuple(dataset.class_names):
            about["labels"] = labels
    if quantize is not None:
        if dataset is None or not is_own:
            raise ValueError(
                "`dataset` must have the model's classes, to measure what `quantize` costs. "
                f"Received: quantize={quantize!r}, dataset={dataset and dataset.name!r}."
            )
        chosen, said = quantizing_of(dataset, quantize, calibrate, max_drop)
        about = {**about, **chosen, "card": {**about.get("card", {}), "quantization": said}}
    return export_model(built, out, **about, **arguments)


def _examples(dataset: Dataset) -> tuple[Any, Any]:
    """Returns as many images as verification needs, of as many classes as there are, and their classes."""
    test = dataset.test
    first = [np.flatnonzero(test.labels == label) for label in range(dataset.classes)]
    turns = [indices[turn] for turn in range(max(BATCHES)) for indices in first if turn < len(indices)]
    chosen = (turns * max(BATCHES))[: max(BATCHES)]
    return test.read(np.array(chosen)), test.labels[chosen]
