"""Does batch normalization make training faster and safer, and at what price?"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.studies.bench import Bench
from kzoo.studies.network import BATCH_SIZE, Network
from kzoo.studies.study import Chart, Claim, Line, Measures, Row, Settings, Study, Value, curve, line, matches, of

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SIZES = (2, 8, 32, 128)  # of the batch around an example
PROBES = 4  # images whose output is looked at
SMALL, SMALL_RATE = 2, 0.001  # the small batch, and the rate for it
EPOCHS, DEPTH, FILTERS, IMAGES = 6, 20, 16, 1024
STEPS = (1, 4, 16, 64)  # after which moving averages are compared with the batch's statistics
WITH, WITHOUT = "batch", "none"


def grid(smoke: bool) -> list[Settings]:
    """Returns each learning rate, then each small batch, with batch normalization and without."""
    rates, sizes = ((0.05, 1.0), ()) if smoke else (RATES, (SMALL, BATCH_SIZE))
    return [
        {"part": part, "norm": norm, "rate": rate, "batch_size": size}
        for norm in (WITH, WITHOUT)
        for part, rate, size in [
            ("state", rates[0], BATCH_SIZE),
            *(("rate", rate, BATCH_SIZE) for rate in rates),
            *(("small batch", SMALL_RATE, size) for size in sizes),
        ]
    ]


def measure(bench: Bench, settings: Settings, seed: int) -> Measures:
    """Trains one network, or looks at what batch normalization does in it."""
    form: dict[str, Any] = {"depth": 8, "filters": 4} if bench.smoke else {"depth": DEPTH, "filters": FILTERS}
    network = bench.network(**form, normalization="batch" if settings["norm"] == WITH else None).start(seed)
    if settings["part"] == "state":
        return _state(bench, network, settings["rate"], seed)
    images = bench.training(256 if bench.smoke or settings["part"] == "small batch" else IMAGES)
    epochs = 1 if bench.smoke else EPOCHS
    losses = network.train(images, seed=seed, epochs=epochs, rate=settings["rate"], batch_size=settings["batch_size"])
    score = network.evaluate(bench.validation())
    trains = math.isfinite(losses[-1]) and losses[-1] < math.log(bench.dataset.classes)
    return {"train_loss": losses[-1], "val_loss": score.loss, "val_accuracy": score.accuracy, "trains": float(trains)}


def _state(bench: Bench, network: Network, rate: float, seed: int) -> Measures:
    """Returns gradients by layer, what an example's output owes to its batch, and how late moving averages are."""
    batch = bench.training(BATCH_SIZE)
    norms = list(network.gradient_norms(batch).values())
    logs = [math.log10(one) if one > 0 else None for one in norms]
    known = [one for one in logs if one is not None]
    found: Measures = {"gradients": norms, "gradient_spread": max(known) - min(known) if known else None}
    validation, steps = bench.validation(128), STEPS[:2] if bench.smoke else STEPS
    late = list[float]()

    def after_step(step: int) -> None:
        if step in steps:
            by_averages, by_batch = (network.evaluate(validation, training=one) for one in (False, True))
            late.append(by_averages.loss - by_batch.loss)

    network.train(bench.training(256 if bench.smoke else IMAGES), seed=seed, epochs=2, rate=rate, after_step=after_step)
    found |= {"lateness": late, "late_at_first": late[0]}
    sizes = (BATCH_SIZE,) if bench.smoke else SIZES
    for training in (True, False):
        changes = [_change(bench, network, size, training) for size in sizes]
        found["change_training" if training else "change_inference"] = changes[0]
        found["changes_training" if training else "changes_inference"] = changes
    return found


def _change(bench: Bench, network: Network, size: int, training: bool) -> float:
    """Returns how much logits change with the others of the batch, relative to their spread: means over images."""
    images, others = bench.validation(PROBES).images, bench.training(2 * max(SIZES)).images
    changes, spreads = [], []
    for image in images:
        one, other = (
            network.logits(np.concatenate([image[None], others[start : start + size - 1]]), training)[0]
            for start in (0, size - 1)
        )
        changes.append(float(np.abs(one - other).mean()))
        spreads.append(float(np.std(one)))
    return statistics.fmean(changes) / (statistics.fmean(spreads) or 1.0)


def largest_rate(norm: str) -> Value:
    """Returns the value that is the decimal logarithm of the largest rate at which networks still train.

    Where none does, the least rate of the grid stands for it, which is more than is true.
    """

    def value(rows: Sequence[Row]) -> float | None:
        found = [row for row in rows if matches(row, {"part": "rate", "norm": norm})]
        if not found:
            return None
        least = min(row["rate"] for row in found)
        return math.log10(max((row["rate"] for row in found if row["trains"]), default=least))

    return value


def advantage(size: int) -> Value:
    """Returns the value that is how much lower the validation loss is with batch normalization, for a batch size."""
    losses = [of("val_loss", part="small batch", norm=norm, batch_size=size) for norm in (WITH, WITHOUT)]

    def value(rows: Sequence[Row]) -> float | None:
        normalized, bare = (loss(rows) for loss in losses)
        return None if normalized is None or bare is None else bare - normalized

    return value


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Returns the charts of the report."""
    names = ((WITH, "with batch normalization"), (WITHOUT, "without"))
    rates = [line(label, rows, "rate", "val_accuracy", part="rate", norm=norm) for norm, label in names]
    gradients = [curve(label, rows, "gradients", part="state", norm=norm) for norm, label in names]
    changes, late = (curve("", rows, name, part="state", norm=WITH) for name in ("changes_training", "lateness"))
    is_short = len(changes.points) == 1
    sizes, steps = ((BATCH_SIZE,), STEPS[:2]) if is_short else (SIZES, STEPS)
    found = [
        Chart("rates", "Which learning rates train", "learning rate", "validation accuracy", rates, log_x=True),
        Chart(
            "gradients",
            "Gradients of the kernels at initialization",
            "convolution, counted from the input",
            "norm of the gradient",
            gradients,
            log_y=True,
        ),
        Chart(
            "dependence",
            "What an example's output owes to the others in its batch",
            "images in the batch",
            "change of the logits / their spread",
            [Line("in training", {sizes[number - 1]: values for number, values in changes.points.items()})],
            log_x=True,
        ),
        Chart(
            "averages",
            "How late the moving averages are",
            "steps of training",
            "excess of the validation loss (nats)",
            [Line("moving averages - batch", {steps[number - 1]: values for number, values in late.points.items()})],
            log_x=True,
        ),
    ]
    small = [line(label, rows, "batch_size", "val_loss", part="small batch", norm=norm) for norm, label in names]
    if any(one.points for one in small):
        labels = ("images in a batch", "validation loss (nats)")
        found.append(Chart("small", "Small batches", *labels, small, log_x=True))
    return found


STUDY = Study(
    name="batch_norm",
    title="What is batch normalization worth?",
    question="Does batch normalization let a network train at larger rates, with gradients of like size in all layers? "
    "What does an example's output owe to the others in its batch, and what do moving averages miss at first?",
    varies="batch normalization or biases instead; the learning rate; the batch size",
    held="residual network (depth 20, 16 filters; smoke: depth 8, 4 filters), images, seeds, epochs; Nesterov's "
    "momentum 0.9 at a constant rate, without augmentation or weight decay",
    measured="loss and accuracy on validation images; a rate trains where the loss of the last epoch is below that of "
    "guessing, and where none does, the least rate counts; gradients for one batch; logits of 4 images, each in two "
    "batches; validation loss by moving averages and by the statistics of the validation images themselves",
    claims=(
        Claim(
            "A network with batch normalization trains at larger learning rates.",
            "The largest rate that trains is no larger with it.",
            largest_rate(WITH),
            largest_rate(WITHOUT),
            "larger",
            "the decimal logarithm of the largest rate that trains",
        ),
        Claim(
            "Batch normalization makes the gradients of all layers alike in size.",
            "The largest and the smallest gradient of a layer are as far apart with it.",
            of("gradient_spread", part="state", norm=WITH),
            of("gradient_spread", part="state", norm=WITHOUT),
            "smaller",
            "the span of the gradients' norms over the layers (decades)",
        ),
        Claim(
            "In training, an example's output depends on the others in its batch.",
            "The output changes no more with other companions than without batch normalization.",
            of("change_training", part="state", norm=WITH),
            of("change_training", part="state", norm=WITHOUT),
            "larger",
            "the change of an example's logits, relative to their spread",
            least=1e-3,
        ),
        Claim(
            "Early in training the moving averages are late: predictions by them are worse.",
            "After the first step the validation loss by moving averages is as low as by the batch's own statistics.",
            of("late_at_first", part="state", norm=WITH),
            of("late_at_first", part="state", norm=WITHOUT),
            "larger",
            "the excess of the validation loss by moving averages after one step (nats)",
            least=1e-3,
        ),
        Claim(
            f"In batches of {SMALL} images, batch normalization is worth less than in batches of {BATCH_SIZE}.",
            "It lowers the validation loss as much in small batches.",
            advantage(SMALL),
            advantage(BATCH_SIZE),
            "smaller",
            "what it lowers the validation loss by (nats)",
        ),
    ),
    grid=grid,
    measure=measure,
    charts=charts,
    columns={
        "val_accuracy": "validation accuracy",
        "val_loss": "validation loss (nats)",
        "train_loss": "training loss (nats)",
        "trains": "share that trains",
        "gradient_spread": "span of gradients (decades)",
        "change_training": "change in training",
        "change_inference": "change in inference",
        "late_at_first": "excess by averages (nats)",
    },
    group=("part", "norm", "rate", "batch_size"),
    seeds=7,
    reference="Ioffe & Szegedy, 2015, arXiv:1502.03167",
)
