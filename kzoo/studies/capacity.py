"""What can a network fit, and what does training make it fit?"""

import math
from collections.abc import Sequence
from typing import Any

from kzoo.studies.bench import Bench
from kzoo.studies.network import BATCH_SIZE, Network
from kzoo.studies.study import Chart, Claim, Measures, Row, Settings, Study, line, of

DEPTHS, WIDTHS, IMAGES = (8, 20), (2, 8, 32), 1024
NUMBERS = (250, 1000, 4000, 16000)  # of training images
STEPS, RATE = 600, 0.05
RANDOM_IMAGES, RANDOM_EPOCHS, FITTED, PATIENCE = 256, 60, 0.95, 3
# What stands in the place of a technique, or is added.
VARIANTS: dict[str, dict[str, Any]] = {
    "all of them": {},
    "no batch normalization": {"normalization": None},
    "no skip connections": {"shortcut": "none"},
    "with dropout": {"dropout": 0.5},
    "with early stopping": {},
}


def grid(smoke: bool) -> list[Settings]:
    """Returns each size of a network, each number of images, and random labels with and without each technique."""
    sizes = [(8, 2)] if smoke else [(depth, width) for depth in DEPTHS for width in WIDTHS]
    numbers = (64, 256) if smoke else NUMBERS
    variants = ["all of them", "no batch normalization", "with early stopping"] if smoke else list(VARIANTS)
    return [
        *(_cell("size", depth=depth, filters=width) for depth, width in sizes),
        *(_cell("images", filters=4 if smoke else 16, images=number) for number in numbers),
        *(_cell("random labels", filters=4 if smoke else 16, variant=variant) for variant in variants),
    ]


def _cell(
    part: str, *, filters: int, depth: int = 8, images: int | None = None, variant: str = "all of them"
) -> Settings:
    return {"part": part, "depth": depth, "filters": filters, "images": images, "variant": variant}


def measure(bench: Bench, settings: Settings, seed: int) -> Measures:
    """Trains one network, on true labels or on random ones."""
    form = {"depth": settings["depth"], "filters": settings["filters"], **VARIANTS[settings["variant"]]}
    network = bench.network(**form).start(seed)
    parameters = sum(math.prod(weight.shape) for weight in network.model.trainable_weights)
    found: Measures = {"parameters": parameters}
    if settings["part"] == "random labels":
        return found | _fit_random_labels(bench, network, settings["variant"], seed)
    if settings["part"] == "images" and _has_been(settings["images"], len(bench.dataset.train)):
        return found  # the data have no more images than were measured already
    images = bench.training(settings["images"] or (64 if bench.smoke else IMAGES))
    steps = 4 if bench.smoke else STEPS
    epochs = math.ceil(steps / max(1, len(images) // BATCH_SIZE))
    network.train(images, seed=seed, epochs=epochs, rate=RATE)
    on_training, on_validation = network.evaluate(images), network.evaluate(bench.validation())
    return found | {
        "taken": len(images),
        "train_loss": on_training.loss,
        "train_accuracy": on_training.accuracy,
        "val_accuracy": on_validation.accuracy,
        "gap": on_training.accuracy - on_validation.accuracy,
    }


def _has_been(images: int, available: int) -> bool:
    """Returns whether a smaller number of images of the grid takes all that there are."""
    return any(available <= number < images for number in NUMBERS)


def _fit_random_labels(bench: Bench, network: Network, variant: str, seed: int) -> Measures:
    """Returns the share of random labels that is fitted within the epochs, and after how many it was 95 %."""
    images = bench.training(64 if bench.smoke else RANDOM_IMAGES, random_labels=True, seed=seed)
    validation = bench.validation(128)
    best, waited, shares = math.inf, 0, list[float]()

    def after_epoch(epoch: int) -> bool:
        nonlocal best, waited
        shares.append(network.evaluate(images).accuracy)
        if variant != "with early stopping":
            return shares[-1] >= 1
        loss = network.evaluate(validation).loss
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        return waited >= PATIENCE

    network.train(images, seed=seed, epochs=2 if bench.smoke else RANDOM_EPOCHS, rate=RATE, after_epoch=after_epoch)
    epochs = [epoch for epoch, share in enumerate(shares, start=1) if share >= FITTED]
    found: Measures = {"shares": shares, "fitted": shares[-1] if shares else 0.0}
    return found | {"chance": 1 / bench.dataset.classes, "epochs_to_fit": epochs[0] if epochs else None}


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Returns the charts of the report."""
    depths = list(dict.fromkeys(row["depth"] for row in rows if row["part"] == "size"))
    sizes = [
        line(f"{label}, depth {depth}", rows, "filters", name, part="size", depth=depth)
        for depth in depths
        for label, name in (("training", "train_accuracy"), ("validation", "val_accuracy"))
    ]
    numbers = [
        line(label, rows, "taken", name, part="images")
        for label, name in (("training", "train_accuracy"), ("validation", "val_accuracy"))
    ]
    fitted = [line("", rows, "variant", "fitted", part="random labels")]
    epochs = [line("", rows, "variant", "epochs_to_fit", part="random labels")]
    return [
        Chart("size", "Accuracy over the width", "filters of the first stage", "accuracy", sizes, log_x=True),
        Chart("images", "Accuracy over the training images", "training images", "accuracy", numbers, log_x=True),
        Chart("random", "Random labels that are fitted", "techniques", "share of the labels", fitted),
        Chart("epochs", "Epochs until 95 % of the random labels are fitted", "techniques", "epochs", epochs),
    ]


def _random(measure: str, variant: str) -> Any:
    return of(measure, part="random labels", variant=variant)


STUDY = Study(
    name="capacity",
    title="What can a network fit, and what does training make it fit?",
    question="How do depth, width and the number of images show in the gap between training and validation? Does a "
    "network fit random labels, of which nothing can be learned, and how do the techniques change that?",
    varies="depth (8, 20) and width (2, 8, 32 filters); the number of training images, up to those that the data have; "
    "with random labels, which technique is left out or added",
    held="600 steps with true labels, at most 60 epochs with 256 random ones (smoke: a few); seeds; Nesterov's "
    "momentum 0.9 at a constant rate of 0.05, without augmentation or weight decay",
    measured="accuracy on the training and the validation images; the share of random labels that is fitted, and the "
    "first epoch with 95 % of them. Early stopping watches the validation loss, with a patience of 3",
    claims=(
        Claim(
            "A network that is too small underfits: its training accuracy is lower.",
            "The smallest network has no lower training accuracy than the largest.",
            of("train_accuracy", part="size", depth=8, filters=2),
            of("train_accuracy", part="size", depth=20, filters=32),
            "smaller",
            "the training accuracy of the smallest network against the largest",
        ),
        Claim(
            "Fewer images widen the gap between training and validation.",
            "The gap is no wider with 250 images than with 1,000.",
            of("gap", part="images", images=250),
            of("gap", part="images", images=1000),
            "larger",
            "the gap of the accuracy, with 250 images against 1,000",
        ),
        Claim(
            "A network can fit random labels: its representational capacity is large.",
            "It fits no more of them than guessing, and half of all labels.",
            _random("fitted", "all of them"),
            _random("chance", "all of them"),
            "larger",
            "the share of random labels that is fitted against guessing",
            least=0.5,
        ),
        Claim(
            "Early stopping limits the effective capacity: fewer random labels are fitted.",
            "As many are fitted with it.",
            _random("fitted", "with early stopping"),
            _random("fitted", "all of them"),
            "smaller",
            "the share of random labels that is fitted, with early stopping against without",
        ),
        Claim(
            "Dropout limits the effective capacity: fewer random labels are fitted.",
            "As many are fitted with it.",
            _random("fitted", "with dropout"),
            _random("fitted", "all of them"),
            "smaller",
            "the share of random labels that is fitted, with dropout against without",
        ),
        Claim(
            "Batch normalization raises the effective capacity: more random labels are fitted in the same epochs.",
            "As many are fitted without it.",
            _random("fitted", "all of them"),
            _random("fitted", "no batch normalization"),
            "larger",
            "the share of random labels that is fitted, with batch normalization against without",
        ),
    ),
    grid=grid,
    measure=measure,
    charts=charts,
    columns={
        "parameters": "parameters",
        "train_accuracy": "training accuracy",
        "val_accuracy": "validation accuracy",
        "gap": "gap of the accuracy",
        "fitted": "random labels fitted",
        "epochs_to_fit": "epochs to 95 %",
    },
    group=("part", "depth", "filters", "images", "variant"),
    seeds=6,
    reference="Zhang et al., 2017, arXiv:1611.03530",
)
