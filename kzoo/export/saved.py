"""Exports what a training or another project left on disk."""

import os
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np

from kzoo.arguments import instance, objects
from kzoo.arguments import path as checked_path
from kzoo.choices import hint
from kzoo.data import Dataset
from kzoo.export.checks import BATCHES
from kzoo.export.exporting import Exported, export_model
from kzoo.export.quantizing import CALIBRATE, MAX_DROP, quantizing_of
from kzoo.models import Preset, create_model
from kzoo.presets import is_preset, list_presets
from kzoo.training import Run


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
    """Exports a run, a preset, or a model of the zoo with a weights file.

    It is verified with images of the dataset's test split, one class after another.

    Args:
        source: Path of a run directory or of a weights file; or a preset, as of `kzoo.Preset`.
        out: Path of the folder of all exports.
        model: Name of the model that a weights file belongs to. Defaults to `None`.
        dataset: The `Dataset` whose images to use, of the run's classes. Defaults to the run's own. A weights file
            needs one, and takes its class names. A preset has class names of its own, and is verified with digits if
            no dataset is given.
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
            or a preset with images of another size.
        FileNotFoundError: If there is no such run, file or preset.

    Example:
        >>> kzoo.export_saved("runs/mine", "exports", format="onnx", quantize="int8")  # doctest: +SKIP
    """
    path = checked_path(source, "source")
    instance(dataset, "dataset", (Dataset, NoneType), "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    objects(custom_objects)
    if is_preset(source):
        preset = Preset(source)
        built = preset.load_model()
        own = preset.config.construction.model
        if model not in (None, own):
            raise ValueError(f"`model` must be None or the preset's, {own!r}. Received: model={model!r}.")
        if dataset is not None and dataset.image_shape != built.input_shape[1:]:
            raise ValueError(
                f"`dataset` must have images of shape {built.input_shape[1:]} for this preset. "
                f"Received: {dataset.name!r}, of shape {dataset.image_shape}."
            )
        about: dict[str, Any] = {"card": {"preset": os.fspath(source)}, "decoding": preset.decoding()}
        if preset.config.temperature is not None:
            about["card"]["temperature"] = preset.config.temperature
        if preset.class_names is not None:
            about["class_names"] = preset.class_names
    elif not path.exists():
        names = list_presets()
        raise FileNotFoundError(
            f"Expected a run directory, a weights file, a preset's folder or one of {names}. "
            f"Received: {os.fspath(source)!r}.{hint(source, names)}"
        )
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
            f"Received: source={os.fspath(source)!r}, model={model!r}, dataset={dataset and dataset.name!r}."
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
