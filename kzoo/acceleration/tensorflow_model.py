"""Functional models on TensorFlow, whose `fit`, `evaluate` and `predict` give Keras pipelines that are not tuned.

Keras makes a pipeline (a `DataAdapter`) of what those are given, and has no place where a model could say how. It takes
a pipeline in the place of data, though.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from kzoo.acceleration import tensorflow_batches
from kzoo.acceleration.registry import find
from kzoo.acceleration.tensorflow_workers import WorksInTeams


class AcceleratedModel(WorksInTeams):
    """Functional model whose data come through pipelines that are not tuned, and that may be of several workers."""

    def _kzoo_call(self, name: str, method: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Calls Keras's method of that name with pipelines where there are any, else with what was given."""
        if not tensorflow_batches.ACCELERATION.is_active():
            return method(*args, **kwargs)
        try:
            given = _bound(name, args, kwargs)
        except TypeError:  # Keras's own account of it comes below
            given = None
        if given is None or given.get("_use_cached_eval_dataset"):  # a pipeline that `fit` has made
            return method(*args, **kwargs)
        if with_pipelines := _with_pipelines(given, name):
            return method(**with_pipelines)
        return method(*args, **kwargs)

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        return self._kzoo_call("fit", super().fit, args, kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return self._kzoo_call("evaluate", super().evaluate, args, kwargs)

    @functools.wraps(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return self._kzoo_call("predict", super().predict, args, kwargs)


def _bound(name: str, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the arguments of a call by their names; `None` if somebody has wrapped the method, and hides them."""
    signature = inspect.signature(getattr(keras.Model, name))
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values()):
        return None
    given = signature.bind(None, *args, **kwargs).arguments
    given.pop("self")
    given.update(given.pop("kwargs", {}))
    return given


def _with_pipelines(given: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Returns the arguments with pipelines in the place of data, or `None` if there is nothing to replace."""
    steps, most = given.get("steps_per_epoch", given.get("steps")), keras.config.max_steps_per_epoch()
    options = {
        "batch_size": given.get("batch_size"),
        "steps": most if most and (not steps or most < steps) else steps,  # as Keras does
        "shuffle": given.get("shuffle", name == "fit"),
        "class_weight": given.get("class_weight"),
    }
    replaced = dict(_held_out(given))
    validation = replaced.get("validation_data")
    data = (replaced.get(part) for part in ("x", "y", "sample_weight"))
    pipeline = tensorflow_batches.pipeline(*data, **options)
    if pipeline is not None:
        for part in ("y", "sample_weight", "class_weight"):
            replaced.pop(part, None)
        replaced["x"] = pipeline
    served = None if validation is None else _validation_pipeline(replaced, options["batch_size"])
    if served is not None:
        replaced["validation_data"] = served
    return None if pipeline is None and served is None else replaced


def _validation_pipeline(given: Mapping[str, Any], batch_size: Any) -> Any:
    data = keras.utils.unpack_x_y_sample_weight(given["validation_data"])
    batch_size = given.get("validation_batch_size") or batch_size
    options = {"batch_size": batch_size, "steps": given.get("validation_steps"), "shuffle": False, "class_weight": None}
    try:
        return tensorflow_batches.pipeline(*data, **options)
    except ValueError:  # Keras says so when it comes to validate
        return None


def _held_out(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the arguments of `fit` with the validation data that it is asked to hold out, as Keras takes them."""
    if not given.get("validation_split") or given.get("validation_data") is not None:
        return given
    data = (given.get("x"), given.get("y"), given.get("sample_weight"))
    kept, held_out = find(tensorflow_batches.SPLIT)(data, validation_split=given["validation_split"])
    changed = dict(zip(("x", "y", "sample_weight"), kept, strict=True), validation_data=held_out)
    return {key: value for key, value in given.items() if key != "validation_split"} | changed
