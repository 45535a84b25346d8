"""What Keras's callbacks remember from one step to another."""

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kzoo.training.progress import Progress
from kzoo.training.state import Arrays, storable

Numbers = dict[str, Any]
_PLAIN = (bool, int, float, str, type(None))
# What each keeps; of names that begin with an underscore every plain value is kept, too.
_KEPT: dict[type, tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.History: ("epoch", "history"),
}
_REMEMBER_NOTHING = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.TerminateOnNaN,
)


def states_of(callbacks: Sequence[keras.callbacks.Callback]) -> tuple[list[Numbers], Arrays]:
    """Returns what callbacks remember.

    Args:
        callbacks: The callbacks. Those with `get_state` and `set_state` say it themselves: a dictionary of what JSON
            holds, and of arrays or lists of arrays.

    Returns:
        A dictionary each, with the name of its class, and the arrays, named after their place. All are copies.

    Raises:
        ValueError: If a state has what JSON does not hold.
    """
    states, arrays = list[Numbers](), Arrays()
    for number, callback in enumerate(_with_state(callbacks)):
        numbers: Numbers = {}
        for name, value in _state_of(callback).items():
            if isinstance(value, np.ndarray) or (isinstance(value, list | tuple) and any(map(_is_array, value))):
                listed = [value] if isinstance(value, np.ndarray) else list(value)
                numbers[name] = {"arrays": len(listed), "alone": isinstance(value, np.ndarray)}
                arrays |= {f"callbacks/{number}/{name}/{i}": storable(array) for i, array in enumerate(listed)}
            else:
                numbers[name] = {"value": _copied(callback, name, value)}
        states.append({"class": type(callback).__name__, "state": numbers})
    return states, arrays


def give_states(callbacks: Sequence[keras.callbacks.Callback], states: Sequence[Numbers], arrays: Arrays) -> None:
    """Gives callbacks back what they remembered; of those that cannot take it a warning tells.

    Raises:
        ValueError: If the callbacks are others.
    """
    callbacks = _with_state(callbacks)
    expected, received = [state.get("class") for state in states], [type(callback).__name__ for callback in callbacks]
    if expected != received:
        raise ValueError(f"A training goes on with the callbacks it had, {expected}. Received: {received}.")
    for number, (callback, state) in enumerate(zip(callbacks, states, strict=True)):
        values = _values_of(state, f"callbacks/{number}", arrays)
        if (take := _method(callback, "set_state")) is not None:
            take(values)
        elif _kept_names(callback) is not None:
            if others := [name for name, value in values.items() if not _may_be_given(callback, name, value)]:
                raise ValueError(
                    f"A checkpoint must have what {type(callback).__name__} remembers. Received: {others}."
                )
            vars(callback).update(values)
        if take is None and type(callback) not in (*_KEPT, *_REMEMBER_NOTHING):
            name = type(callback).__name__
            name = name if _kept_names(callback) is None else f"What {name} adds to Keras's"
            warnings.warn(f"{name} begins anew: it has no `get_state` and `set_state` to go on with.", stacklevel=2)


def _values_of(state: Numbers, place: str, arrays: Arrays) -> Numbers:
    """Returns what a callback remembered, with its arrays."""
    values: Numbers = {}
    try:
        for name, kept in state["state"].items():
            if "value" in kept:
                values[name] = kept["value"]
            else:
                listed = [arrays[f"{place}/{name}/{i}"] for i in range(kept["arrays"])]
                values[name] = listed[0] if kept["alone"] else listed
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"A checkpoint must have what each callback remembers. Received: {state!r}.") from error
    return values


def _may_be_given(callback: keras.callbacks.Callback, name: str, value: Any) -> bool:
    """Returns whether a callback keeps something: another name might be that of a method, or say where to write."""
    if name in (_kept_names(callback) or ()):
        return True
    is_plain = isinstance(value, _PLAIN) and isinstance(vars(callback).get(name), _PLAIN)
    return name.startswith("_") and is_plain and not hasattr(type(callback), name)


def _with_state(callbacks: Sequence[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
    """Returns the callbacks but for progress bars, which another go may have others of."""
    return [one for one in callbacks if not isinstance(one, keras.callbacks.ProgbarLogger | Progress)]


def _state_of(callback: keras.callbacks.Callback) -> Numbers:
    if (give := _method(callback, "get_state")) is not None:
        return dict(give())
    names = _kept_names(callback)
    if names is None:
        return {}
    private = {name: value for name, value in vars(callback).items() if _is_kept(callback, name)}
    return private | {name: vars(callback)[name] for name in names if name in vars(callback)}


def _copied(callback: keras.callbacks.Callback, name: str, value: Any) -> Any:
    """Returns a copy of a value, as JSON holds it: the callback may change its own before it is written."""
    try:
        return json.loads(json.dumps(value, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The state of {type(callback).__name__} must be numbers, texts, lists and dictionaries of them, and NumPy "
            f"arrays. Received: {name!r}: {error}."
        ) from error


def _plain(value: Any) -> Any:
    """Returns what JSON has for a number of NumPy or a backend."""
    plain = np.asarray(keras.ops.convert_to_numpy(value)).item()
    if not isinstance(plain, _PLAIN):
        raise TypeError(f"a {type(value).__name__}")
    return plain


def _method(callback: keras.callbacks.Callback, name: str) -> Callable[..., Any] | None:
    both = all(callable(getattr(callback, one, None)) for one in ("get_state", "set_state"))
    return getattr(callback, name) if both else None


def _kept_names(callback: keras.callbacks.Callback) -> tuple[str, ...] | None:
    return next((names for kind, names in _KEPT.items() if isinstance(callback, kind)), None)


def _is_kept(callback: keras.callbacks.Callback, name: str) -> bool:
    """Returns whether a callback has a plain value of that private name."""
    return name.startswith("_") and name in vars(callback) and isinstance(vars(callback)[name], _PLAIN)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)
