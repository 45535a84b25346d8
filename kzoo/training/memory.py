"""Trainings that memory is too short for."""

import contextlib
import gc
import re

import keras

from kzoo.data import Batches
from kzoo.training.state import TrainState, set_arrays

_NAMES = ("OutOfMemoryError", "ResourceExhaustedError")  # of PyTorch and TensorFlow
_PHRASES = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory", "not enough memory")  # of JAX, of CPUs


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that a backend, or Python, found no memory."""
    said = str(error).casefold()
    return (
        isinstance(error, MemoryError)
        or any(kind.__name__ in _NAMES for kind in type(error).__mro__)
        or (isinstance(error, RuntimeError) and any(phrase.casefold() in said for phrase in _PHRASES))
    )


def reason_of(error: BaseException) -> str:
    """Returns the line of an error that says what was missing: Keras puts others before it."""
    said = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # colours
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if any(phrase.casefold() in line.casefold() for phrase in _PHRASES)), lines[0])


def largest_that_fits(model: keras.Model, batches: Batches, state: TrainState) -> int | None:
    """Trains a step on ever smaller batches, from half the size on, and returns the first size that memory holds.

    Args:
        model: The compiled `keras.Model`, which is left somewhere after `state`.
        batches: `Batches` whose size did not fit.
        state: A `TrainState` to begin from.

    Returns:
        Integer, or `None` if not even one image fits.
    """
    size = batches.batch_size // 2
    while size:
        smaller = Batches(batches.split, batches.classes, batch_size=size)
        gc.collect()  # of what did not fit
        with contextlib.suppress(Exception):  # without memory backends fail in many ways, and not all say why
            set_arrays(model, state.arrays)
            model.train_on_batch(*smaller.batch(0, 0))
            return size
        size //= 2
    return None
