"""What decides how a training goes on: one tree of named arrays and plain numbers."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass
class TrainState:
    """A training between two steps. Equal states have equal futures, on every backend but for rounding.

    Args:
        arrays: Name to array: `model/...` (weights, batch statistics, counters of masks), `optimizer/...`,
            `average/...` and `slow/...` (of weights, by the recipe's `ema` and Lookahead), `metrics/...` (sums within
            the epoch) and `callbacks/...` (for example the best weights).
        numbers: What JSON holds: `training` (a fingerprint of recipe, data and model), `step`, `epoch` and `batch`
            (counted from 0, the next to train on), `history`, `callbacks`, `stopped`.
    """

    arrays: Arrays
    numbers: dict[str, Any]


def arrays_of(model: keras.Model) -> Arrays:
    """Returns copies of all that a compiled model's training changes.

    Within an epoch JAX keeps it apart from the variables: there they are brought up to date first.
    """
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()
    variables = {
        **dict(named("model", model.variables)),
        **dict(named("optimizer", model.optimizer.variables)),
        **dict(named("metrics", model.metrics_variables)),
    }
    return {name: storable(keras.ops.convert_to_numpy(variable)) for name, variable in variables.items()}


def storable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a copy, in float32 where NumPy's files do not know the type: float32 holds all of a bfloat16."""
    return np.array(array, np.float32 if array.dtype.kind == "V" else None)


def set_arrays(model: keras.Model, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Gives a compiled model and its optimizer the values that `arrays_of` returned, on this backend or another.

    Raises:
        ValueError: If the model has other variables.
    """
    _assign([*named("model", model.variables), *named("optimizer", model.optimizer.variables)], arrays)


def set_metrics(model: keras.Model, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Does the same for the metrics, which Keras resets when an epoch begins.

    TensorFlow makes their variables in the first step: here they are made before.
    """
    there = {name for name, _ in named("metrics", model.metrics_variables)}
    if any(name.startswith("metrics/") and name not in there for name in arrays):
        answers = np.zeros((1, model.output_shape[-1]), np.float32)
        model.compute_metrics(None, answers, answers)
        model.reset_metrics()
    _assign(named("metrics", model.metrics_variables), arrays)


def _assign(variables: Iterable[tuple[str, Any]], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    known = dict(variables)
    kinds = {name.partition("/")[0] for name in known}
    expected = {name: tuple(variable.shape) for name, variable in known.items()}
    received = {name: array.shape for name, array in arrays.items() if name.partition("/")[0] in kinds}
    if expected != received:
        differ = sorted(name for name in expected.keys() | received.keys() if expected.get(name) != received.get(name))
        shapes = f"{received.get(differ[0], 'missing')} instead of {expected.get(differ[0], 'none')}"
        raise ValueError(
            f"The state must have the variables of the model and its optimizer. Received: {len(differ)} others, the "
            f"first is {differ[0]!r}: {shapes}."
        )
    for name, variable in known.items():
        variable.assign(arrays[name])


def named(prefix: str, variables: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    """Yields variables with a number and name each: the number tells those of the same name apart."""
    for number, variable in enumerate(variables):
        yield f"{prefix}/{number}/{variable.name}", variable
