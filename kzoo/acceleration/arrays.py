"""Hands arrays to Keras as a pipeline of kzoo's, which Keras takes as it is."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from kzoo.acceleration.registry import find

Adapt = Callable[..., Any]  # (x, y, sample_weight, *, batch_size, steps, shuffle, class_weight) -> pipeline or `None`

_SIGNATURES = {name: inspect.signature(getattr(keras.Model, name)) for name in ("fit", "evaluate", "predict")}


class TakesArrays(keras.Model):
    """Model whose `fit`, `evaluate` and `predict` give Keras the pipelines that `adapt` makes of their data.

    Keras takes a pipeline of its own kind (a `DataAdapter`) as it comes.
    """

    @staticmethod
    def adapt(x: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        """Returns a pipeline of data as `fit` takes it, or `None` to leave them to Keras."""
        return None

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        return super().fit(**_adapted("fit", self.adapt, self, args, kwargs))

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return super().evaluate(**_adapted("evaluate", self.adapt, self, args, kwargs))

    @functools.wraps(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return super().predict(**_adapted("predict", self.adapt, self, args, kwargs))


def _adapted(name: str, adapt: Adapt, model: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call by their names, with pipelines in the place of data."""
    given = _SIGNATURES[name].bind(model, *args, **kwargs).arguments
    given.pop("self")
    given.update(given.pop("kwargs", {}))
    _hold_out(given)
    options = {
        "batch_size": given.get("batch_size"),
        "steps": given.get("steps_per_epoch", given.get("steps")),
        "shuffle": given.get("shuffle", name == "fit"),
        "class_weight": given.get("class_weight"),
    }
    # Keras has its own for validation within `fit`, which it makes once.
    if not given.get("_use_cached_eval_dataset"):
        pipeline = adapt(given.get("x"), given.get("y"), given.get("sample_weight"), **options)
        if pipeline is not None:
            given = {key: value for key, value in given.items() if key not in ("y", "sample_weight", "class_weight")}
            given["x"] = pipeline
    if given.get("validation_data") is not None:
        options = {
            "batch_size": given.get("validation_batch_size") or options["batch_size"],
            "steps": given.get("validation_steps"),
            "shuffle": False,
            "class_weight": None,
        }
        pipeline = adapt(*keras.utils.unpack_x_y_sample_weight(given["validation_data"]), **options)
        given["validation_data"] = given["validation_data"] if pipeline is None else pipeline
    return given


def _hold_out(given: dict[str, Any]) -> None:
    """Takes the validation data that `fit` is asked to hold out, as Keras does, while they are still arrays."""
    split = find("keras.src.trainers.data_adapters.array_slicing:train_validation_split")
    if given.get("validation_split") and given.get("validation_data") is None and split is not None:
        data = (given.get("x"), given.get("y"), given.get("sample_weight"))
        kept, held_out = split(data, validation_split=given.pop("validation_split"))
        given.update(zip(("x", "y", "sample_weight"), kept, strict=True), validation_data=held_out)
