"""What a training leaves: at its end, and where it went wrong."""

import math
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from kzoo.data import Batches, Dataset
from kzoo.errors import DivergenceError, OutOfMemoryError
from kzoo.evaluation import evaluate
from kzoo.training.averaging import averages_instead
from kzoo.training.checkpoint import newest_state
from kzoo.training.divergence import first_layer_gone_wrong
from kzoo.training.json_files import write_json
from kzoo.training.memory import largest_that_fits, reason_of
from kzoo.training.picture import plot_history
from kzoo.training.recording import Recorder
from kzoo.training.run import Run
from kzoo.training.schedule import StepSchedule
from kzoo.training.state import set_arrays


def finish(
    run: Run, model: keras.Model, dataset: Dataset, recorder: Recorder, validation: Batches, from_logits: bool
) -> dict[str, Any]:
    """Leaves what a training came to: the weights first, the record second, the picture last, whatever fails.

    Args:
        run: The `Run`.
        model: The trained `keras.Model`.
        dataset: The `Dataset` whose test split is evaluated.
        recorder: The `Recorder` of the training.
        validation: `Batches` that it was validated on.
        from_logits: Boolean, whether the model gives logits.

    Returns:
        The content of `metrics.json`.
    """
    from kzoo.presets import save_weights

    save_weights(model, run.weights_path)
    run.write_history(recorder.rows)
    kept = recorder.epoch_of_weights
    watched = model.evaluate(validation, verbose=0, return_dict=True)
    test = evaluate(model, dataset.test, batch_size=validation.batch_size, from_logits=from_logits)
    clock, config = recorder.clock, run.config
    planned = config["recipe"]["epochs"] * clock.batches.batches_per_epoch
    metrics = _finite(
        {
            "model": model.name,
            "data": dataset.name,
            "backend": keras.backend.backend(),
            "seed": config["seed"],
            "epochs_run": recorder.rows[-1]["epoch"],
            "best_epoch": kept,
            "stopped_early": clock.steps < planned,
            "val_loss": watched["loss"],  # as early stopping saw it, with the recipe's label smoothing
            "val_accuracy": watched["accuracy"],
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "train_seconds": round(clock.seconds, 3),
            "images_per_second": round(clock.images_per_second, 2),
        }
    )
    write_json(run.directory / "metrics.json", metrics)
    try:
        title = f"{model.name} on {dataset.name}"
        plot_history(recorder.rows, run.directory / "history.png", title=title, kept_epoch=kept)
    except Exception as error:  # of a picture: nothing of the training depends on it
        warnings.warn(f"{run.directory / 'history.png'} could not be drawn. Received: {error}.", stacklevel=2)
    return metrics


def _finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metrics with `None` for what is no finite number: JSON has no NaN. A warning names them."""
    bad = [name for name, value in metrics.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        received = ", ".join(f"{name} {metrics[name]}" for name in bad)
        warnings.warn(f"Every metric must be a finite number. Received: {received}.", stacklevel=2)
    return {name: None if name in bad else value for name, value in metrics.items()}


def explained_divergence(
    error: DivergenceError, run: Run, model: keras.Model, train: Batches, schedule: StepSchedule | None
) -> DivergenceError:
    """Returns what is to be said of a training that went wrong, and leaves the weights of its last checkpoint.

    Args:
        error: The `DivergenceError` that ended it.
        run: The `Run`.
        model: The model, which is left with the weights of the last checkpoint.
        train: `Batches` that it was trained on.
        schedule: The `StepSchedule`, or `None` where the optimizer has a rate of its own.
    """
    from kzoo.presets import save_weights

    said = [f"{error} (epoch {(error.step - 1) // train.batches_per_epoch + 1})"]
    if schedule is not None and error.step:
        said.append(f"at a learning rate of {schedule.rate_of(error.step - 1):.4g}")
    state = newest_state(run.checkpoints)
    if state is None:
        return DivergenceError(f"{', '.join(said)}. There is no checkpoint before it.", error.step)
    alone = not getattr(model, "is_in_team", False)  # the others would have to do the steps again, too
    layer = first_layer_gone_wrong(model, train, state, error.step) if alone else None
    said.append("in a layer that is unknown" if layer is None else f"first in layer {layer!r}")
    set_arrays(model, averages_instead(state.arrays))
    save_weights(model, run.weights_path)
    where = f"The weights of step {state.numbers['step']:,} are in {run.weights_path}."
    return DivergenceError(f"{', '.join(said)}. {where} A smaller learning rate may help.", error.step)


def explained_shortage(error: BaseException, run: Run, model: keras.Model, train: Batches) -> OutOfMemoryError:
    """Returns what is to be said of a training that memory was too short for: which batch size fits, if it is known.

    Args:
        error: The error that ended it.
        run: The `Run`.
        model: The model, which is trained on smaller batches to see which fit.
        train: `Batches` that it was trained on.
    """
    traceback.clear_frames(error.__traceback__)  # they hold what did not fit
    state = newest_state(run.checkpoints)
    fits = None if state is None or getattr(model, "is_in_team", False) else largest_that_fits(model, train, state)
    advice = (
        "No smaller batch was found that fits."
        if fits is None
        else f"A batch of {fits} fits: --batch-size {fits}, or recipe.override(batch_size={fits}), in a new run."
    )
    expected = f"A batch of {train.batch_size} images must fit into memory"
    return OutOfMemoryError(f"{expected}. Received: {reason_of(error).rstrip('.')}. {advice}")
