"""Makes a preset of a run: its weights, and a card of what is known of the training."""

import json
import os
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import keras
import numpy as np

from kzoo import ops
from kzoo.arguments import boolean, instance, text
from kzoo.choices import Precision, check_choice
from kzoo.data import Dataset, Split
from kzoo.data.fingerprint import fingerprint
from kzoo.evaluation import (
    as_logits,
    calibration_error,
    evaluation_of,
    fitted_temperature,
    gives_logits,
    log_softmax,
    predict_in_whole_batches,
)
from kzoo.models.preset import built_by
from kzoo.presets import Construction, save_preset
from kzoo.training.json_files import read_json
from kzoo.training.known_recipes import RECIPES
from kzoo.training.lock import STATUS, STATUS_BYTES
from kzoo.training.run import Run

_DIGITS = 6  # of what is measured, but for fractions of images, which are exact


def save_run(
    run: Run,
    directory: str | os.PathLike[str],
    dataset: Dataset | None = None,
    *,
    measure: bool = True,
    description: str | None = None,
    licence: str | None = None,
    precision: Precision | None = None,
) -> Path:
    """Does what `Run.save_preset` says."""
    if precision is not None:
        check_choice("precision", precision, get_args(Precision))
    instance(dataset, "dataset", (Dataset, NoneType), "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
    measure = boolean(measure, "measure")
    said = {"description": description, "licence": licence}
    about: dict[str, Any] = {name: text(value, name) for name, value in said.items() if value is not None}
    config, metrics = run.config, run.metrics
    construction = config["model"].get("construction")
    if construction is None:
        raise ValueError(
            f"{run.directory} must be of a model that a constructor of kzoo built, such as `kzoo.resnet20`. "
            "Received: another one, which cannot be a preset; `kzoo export` takes it."
        )
    try:
        built = Construction.from_json(construction)
    except ValueError as error:
        raise ValueError(f"{run.directory / 'config.json'} must say how its model was built: {error}") from error
    model = run.load_model()
    if precision is not None:
        model = _in_precision(model, built, precision)
    about |= _facts(run, config, metrics)
    temperature = None
    if measure and (dataset is not None or config["data"]["source"] is not None):
        dataset = run.load_dataset(cache=False) if dataset is None else dataset
        run.check_classes(dataset)
        _check_same_images(run, config, dataset)
        measured, temperature = measured_on(model, dataset)
        about |= measured
    else:
        about |= {name: value for name, value in _told(metrics).items() if value}
    decoding = run.decoding(model) if built.arguments["input_shape"][2] in (1, 3, 4) else None
    return save_preset(
        model,
        directory,
        class_names=run.class_names,
        decoding=decoding,
        temperature=temperature,
        about=about,
        construction=built,
    )


def _in_precision(model: keras.Model, construction: Construction, precision: Precision) -> keras.Model:
    """Returns a model of the same weights that computes in another precision."""
    with ops.precision(precision):
        copy = built_by(construction)
    copy.set_weights(model.get_weights())
    return copy


def measured_on(model: keras.Model, dataset: Dataset) -> tuple[dict[str, Any], float | None]:
    """Returns how good a model is on a dataset, and the temperature that fits its validation images best.

    Args:
        model: A classifier.
        dataset: The `Dataset`.

    Returns:
        `validation` and `test` as cards have them, and the temperature, `None` where none is best.
    """
    validation, test = (_predicted(model, split) for split in (dataset.validation, dataset.test))
    temperature = fitted_temperature(validation, dataset.validation.labels)
    found: dict[str, Any] = {}
    for name, log_p in (("validation", validation), ("test", test)):
        labels = getattr(dataset, name).labels
        result = evaluation_of(log_p, labels, dataset.class_names)
        measured: dict[str, Any] = {
            "images": result.images,
            "accuracy": result.accuracy,
            "top5_accuracy": result.top5_accuracy,
            "loss": round(result.loss, _DIGITS),
            "calibration_error": round(calibration_error(log_p, labels), _DIGITS),
        }
        if temperature is not None:
            scaled = calibration_error(log_softmax(log_p / temperature), labels)
            measured["calibration_error_scaled"] = round(scaled, _DIGITS)
        if name == "test":
            measured["per_class"] = {key: value for key, value in result.per_class.items() if np.isfinite(value)}
        found[name] = measured
    return found, None if temperature is None else round(temperature, _DIGITS)


def _predicted(model: keras.Model, split: Split) -> Any:
    outputs = predict_in_whole_batches(model, split, 256).astype(np.float64)
    return log_softmax(as_logits(outputs, gives_logits(model)))


def _check_same_images(run: Run, config: dict[str, Any], dataset: Dataset) -> None:
    expected, received = config["data"].get("fingerprint"), fingerprint(dataset)
    if expected is not None and expected != received:
        raise ValueError(
            f"The data must be those that {run.directory} was trained on, by their fingerprint {expected}. "
            f"Received: {received}, of {dataset.name!r}. With `measure=False` nothing is measured anew."
        )


def _told(metrics: dict[str, Any]) -> dict[str, Any]:
    """Returns what the training itself has measured, as cards have it."""
    names = {"val_": "validation", "test_": "test"}
    return {
        split: {key: metrics[prefix + key] for key in ("accuracy", "loss") if metrics.get(prefix + key) is not None}
        for prefix, split in names.items()
    }


def _facts(run: Run, config: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Returns what a run says of its training, without what it does not say."""
    environment = read_json(run.directory / "environment.json", {"backend": "text", "versions": "an object"})
    status = run.directory / STATUS
    command = read_json(status, {"command": "text"}, STATUS_BYTES)["command"] if status.is_file() else None
    facts = {
        "data": {name: config["data"].get(name) for name in ("name", "images", "fingerprint")},
        "recipe_name": _name_of(config["recipe"]),
        "recipe": config["recipe"],
        "seed": config["seed"],
        "command": command,
        "backend": environment["backend"],
        "device": environment.get("device"),
        "versions": {
            name: version
            for name, version in environment["versions"].items()
            if name.partition("-")[0] in ("kzoo", "keras", "numpy", environment["backend"])
        },
        "train_seconds": metrics.get("train_seconds"),
        "epochs": config["recipe"]["epochs"],
        "epochs_run": metrics["epochs_run"],
        "best_epoch": metrics["best_epoch"],
        "created": environment.get("started"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _name_of(recipe: dict[str, Any]) -> str | None:
    """Returns the name of a recipe of kzoo, if a run's is that, and the precision if that is another."""
    for name, known in RECIPES.items():
        expected = json.loads(json.dumps(known.record()))
        if expected | {"precision": recipe["precision"]} == recipe:
            return name if expected == recipe else f"{name}, in {recipe['precision']}"
    return None
