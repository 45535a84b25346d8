"""Does dropout narrow the gap between training and validation, and what does it do to single units?"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kzoo.recursion import deep_recursion
from kzoo.streams import stream
from kzoo.studies.bench import Bench
from kzoo.studies.network import Network, array_of
from kzoo.studies.study import Chart, Claim, Measures, Row, Settings, Study, line, of

RATES = (0.0, 0.1, 0.3, 0.5)
EPOCHS, DEPTH, FILTERS, IMAGES, RATE = 40, 8, 16, 256, 0.05
REMOVED = 8  # units of each block


def grid(smoke: bool) -> list[Settings]:
    """Returns each rate of dropout."""
    return [{"dropout": rate} for rate in ((0.0, 0.5) if smoke else RATES)]


def measure(bench: Bench, settings: Settings, seed: int) -> Measures:
    """Trains on few images, then takes units out one by one, and counts those that never fire."""
    filters = 4 if bench.smoke else FILTERS
    network = bench.network(depth=DEPTH, filters=filters, dropout=settings["dropout"]).start(seed)
    images, validation = bench.training(IMAGES), bench.validation()
    network.train(images, seed=seed, epochs=1 if bench.smoke else EPOCHS, rate=RATE)
    on_training, on_validation = network.evaluate(images), network.evaluate(validation)
    found = {
        "train_loss": on_training.loss,
        "train_accuracy": on_training.accuracy,
        "val_loss": on_validation.loss,
        "val_accuracy": on_validation.accuracy,
        "gap_loss": on_validation.loss - on_training.loss,
        "gap_accuracy": on_training.accuracy - on_validation.accuracy,
    }
    removed = 1 if bench.smoke else REMOVED
    increases = [loss - on_validation.loss for loss in _losses_without_a_unit(network, validation, removed, seed)]
    return found | {"removal": float(np.mean(increases)), "silent": _silent_share(network, validation.images)}


def _losses_without_a_unit(network: Network, validation: Any, count: int, seed: int) -> list[float]:
    """Returns the validation loss without each of some units: what the second convolution of a block gets of them."""
    found = []
    for layer in network.model.layers:
        if layer.name.endswith("_conv2"):
            kernel = array_of(layer.kernel)
            units = stream(seed, "study", "units", layer.name).permutation(kernel.shape[2])[:count]
            for unit in units.tolist():
                without = kernel.copy()
                without[:, :, unit] = 0
                layer.kernel.assign(without)
                found.append(network.evaluate(validation).loss)
            layer.kernel.assign(kernel)
    return found


def _silent_share(network: Network, images: Any) -> float:
    """Returns the share of activations inside the blocks, of each place and channel, that are 0 for every image."""
    layers = [layer for layer in network.model.layers if layer.name.endswith("_relu1") and "block" in layer.name]
    with deep_recursion():
        inside = keras.Model(network.model.input, [layer.output for layer in layers])
    outputs = inside.predict_on_batch(images[:128])
    fires = [np.asarray(one).max(axis=0) > 0 for one in (outputs if isinstance(outputs, list) else [outputs])]
    return 1 - sum(int(one.sum()) for one in fires) / sum(one.size for one in fires)


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Returns the charts of the report."""
    x = "dropout rate"
    accuracies = [
        line(label, rows, "dropout", name)
        for label, name in (("training", "train_accuracy"), ("validation", "val_accuracy"))
    ]
    return [
        Chart("gap", "The gap between training and validation", x, "gap of the loss (nats)", _one(rows, "gap_loss")),
        Chart("accuracy", "Accuracy", x, "accuracy", accuracies),
        Chart("removal", "Taking one unit out", x, "increase of the validation loss (nats)", _one(rows, "removal")),
        Chart("silent", "Units that never fire", x, "share of the units", _one(rows, "silent")),
    ]


def _one(rows: Sequence[Row], name: str) -> list[Any]:
    return [line("", rows, "dropout", name)]


STUDY = Study(
    name="dropout",
    title="What is dropout worth?",
    question="Does dropout narrow the gap between training and validation where data are few? Do units rely less on "
    "each other, and do fewer of them never fire?",
    varies="the rate of dropout inside each block: 0, 0.1, 0.3, 0.5",
    held="residual network (depth 8, 16 filters; smoke: 4), 256 training images, seeds, epochs; Nesterov's momentum "
    "0.9 at a constant rate of 0.05, without augmentation or weight decay",
    measured="loss and accuracy on the training images without dropout, and on validation images; the validation "
    "loss where one unit inside a block is taken out, for some units of each block; the share of the units inside the "
    "blocks that are 0 for all of 128 validation images",
    claims=(
        Claim(
            "Dropout narrows the gap between training and validation loss.",
            "The gap is no smaller at a rate of 0.5.",
            of("gap_loss", dropout=0.5),
            of("gap_loss", dropout=0.0),
            "smaller",
            "the gap of the loss, at a rate of 0.5 against none (nats)",
        ),
        Claim(
            "On few images dropout makes the validation accuracy higher.",
            "It is no higher at a rate of 0.3.",
            of("val_accuracy", dropout=0.3),
            of("val_accuracy", dropout=0.0),
            "larger",
            "the validation accuracy, at a rate of 0.3 against none",
        ),
        Claim(
            "With dropout, a network relies less on any single unit.",
            "Taking one unit out costs as much.",
            of("removal", dropout=0.5),
            of("removal", dropout=0.0),
            "smaller",
            "the increase of the validation loss where one unit is taken out, at a rate of 0.5 against none (nats)",
        ),
        Claim(
            "With dropout, fewer units never fire.",
            "As many units are 0 for every image.",
            of("silent", dropout=0.5),
            of("silent", dropout=0.0),
            "smaller",
            "the share of units that never fire, at a rate of 0.5 against none",
        ),
    ),
    grid=grid,
    measure=measure,
    charts=charts,
    columns={
        "train_loss": "training loss (nats)",
        "val_loss": "validation loss (nats)",
        "gap_loss": "gap (nats)",
        "train_accuracy": "training accuracy",
        "val_accuracy": "validation accuracy",
        "removal": "loss of a unit (nats)",
        "silent": "never fire",
    },
    group=("dropout",),
    seeds=15,
    reference="Srivastava et al., 2014, jmlr.org/papers/v15/srivastava14a.html",
)
