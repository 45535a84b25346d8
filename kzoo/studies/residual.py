"""What do skip connections change in deep networks?"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.studies.bench import Bench
from kzoo.studies.network import BATCH_SIZE, Network, array_of
from kzoo.studies.study import Chart, Claim, Measures, Row, Settings, Study, Value, curve, line, of

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"shortcut": "none"},
    "additive": {"order": "additive"},
    "classic": {"order": "classic"},
    "pre-activation": {"order": "preact"},
}
DEPTHS = (20, 56, 110)
EPOCHS, FILTERS, IMAGES, RATE = 8, 16, 1024, 0.05


def grid(smoke: bool) -> list[Settings]:
    """Returns each form at each depth; in a smoke test three of them at the least depth there is."""
    if smoke:
        return [{"form": "classic", "depth": 8}, {"form": "plain", "depth": 8}, {"form": "pre-activation", "depth": 8}]
    return [{"form": form, "depth": depth} for depth in DEPTHS for form in FORMS]


def measure(bench: Bench, settings: Settings, seed: int) -> Measures:
    """Looks at the gradients of a new network, trains it, and takes its blocks out one by one."""
    form, filters = FORMS[settings["form"]], 4 if bench.smoke else FILTERS
    network = bench.network(depth=settings["depth"], filters=filters, **form).start(seed)
    batch, images = bench.training(BATCH_SIZE), bench.training(256 if bench.smoke else IMAGES)
    found: Measures = {"gradients": list(network.gradient_norms(batch).values())}
    found["stem_gradient"] = found["gradients"][0]
    found["dead_gradient"] = _gradient_with_dead_block(network, batch)

    after_first: list[float] = []

    def after_epoch(epoch: int) -> None:
        if epoch == 1:
            after_first.extend(network.gradient_norms(batch).values())

    epochs = 1 if bench.smoke else EPOCHS
    losses = network.train(images, seed=seed, epochs=epochs, rate=RATE, after_epoch=after_epoch)
    score = network.evaluate(bench.validation())
    found |= {"gradients_after": after_first, "losses": losses, "train_loss": losses[-1]}
    found |= {"val_loss": score.loss, "val_accuracy": score.accuracy}
    drops = [score.accuracy - one for one in _accuracies_without_a_block(bench, network, settings["form"])]
    return found | {"drops": drops, "drop": float(np.mean(drops))}


def _blocks(network: Network) -> list[str]:
    names = [layer.name for layer in network.model.layers]
    return [name.removesuffix("_conv1") for name in names if name.endswith("_conv1")]


def _gradient_with_dead_block(network: Network, batch: Any) -> float:
    """Returns the norm of the stem's gradient where all weights of the middle block are 0."""
    kept, blocks = network.snapshot(), _blocks(network)
    dead = blocks[len(blocks) // 2]
    for layer in network.model.layers:
        if layer.name.startswith(f"{dead}_conv"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    norm = network.gradient_norms(batch)["stem_conv"]
    network.restore(kept)
    return norm


def _accuracies_without_a_block(bench: Bench, network: Network, form: str) -> list[float]:
    """Returns the validation accuracy without each block that leaves the shape as it is."""
    kept, validation, found = network.snapshot(), bench.validation(), []
    for block in _blocks(network):
        if block.endswith("block1") and not block.startswith("stage1"):
            continue  # it changes the shape
        if form == "plain":
            _make_identity(network, block)
        else:
            _zero_branch(network, block)
        found.append(network.evaluate(validation).accuracy)
        network.restore(kept)
    return found


def _zero_branch(network: Network, block: str) -> None:
    """Makes what a block adds to its shortcut zero."""
    names = {layer.name for layer in network.model.layers}
    if f"{block}_add" not in names:
        raise ValueError(f"`block` must have a shortcut. Received: block={block!r}.")
    is_preact = network.form.get("order") == "preact"
    layer = network.model.get_layer(f"{block}_conv2" if is_preact else f"{block}_norm2")
    for weight in (layer.kernel,) if is_preact else (layer.gamma, layer.beta):
        weight.assign(np.zeros(weight.shape))


def _make_identity(network: Network, block: str) -> None:
    """Makes a plain block pass on what it gets, which is not negative: as if it had been taken out."""
    for number in (1, 2):
        kernel = network.model.get_layer(f"{block}_conv{number}").kernel
        identity = np.zeros(kernel.shape)
        identity[1, 1] = np.eye(kernel.shape[-1])
        kernel.assign(identity)
        norm = network.model.get_layer(f"{block}_norm{number}")
        norm.gamma.assign(np.sqrt(array_of(norm.moving_variance) + norm.epsilon))
        norm.beta.assign(array_of(norm.moving_mean))


def at_depth(measure: str, form: str, pick: Any) -> Value:
    """Returns the value that is a measure of a form at the least or the largest depth of the study, `min` or `max`."""

    def value(rows: Sequence[Row]) -> float | None:
        return of(measure, form=form, depth=pick(row["depth"] for row in rows))(rows)

    return value


def log_span(form: str) -> Value:
    """Returns the value that is how many decades the gradients of the layers span at the largest depth, at first."""

    def value(rows: Sequence[Row]) -> float | None:
        depth = max(row["depth"] for row in rows)
        norms = [row["gradients"] for row in rows if row["form"] == form and row["depth"] == depth]
        spans = [math.log10(max(one) / min(one)) for one in norms if min(one) > 0]
        return sum(spans) / len(spans) if spans else None

    return value


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Returns the charts of the report."""
    depth = max(row["depth"] for row in rows)
    losses = [line(form, rows, "depth", "train_loss", form=form) for form in FORMS]
    first = [curve(form, rows, "gradients", form=form, depth=depth) for form in FORMS]
    after = [curve(form, rows, "gradients_after", form=form, depth=depth) for form in FORMS]
    dead = [line(form, rows, "depth", "dead_gradient", form=form) for form in FORMS]
    drops = [line(form, rows, "depth", "drop", form=form) for form in FORMS]
    place, norm = "convolution, counted from the input", "norm of the gradient"
    return [
        Chart("degradation", "Training loss over depth", "depth (layers)", "training loss (nats)", losses),
        Chart("gradients", f"Gradients at initialization, depth {depth}", place, norm, first, log_y=True),
        Chart("gradients_after", f"Gradients after an epoch, depth {depth}", place, norm, after, log_y=True),
        Chart("dead", "Gradient of the stem past a dead block", "depth (layers)", norm, dead),
        Chart("removal", "Taking one block out", "depth (layers)", "accuracy lost on average", drops),
    ]


STUDY = Study(
    name="residual",
    title="What are skip connections worth?",
    question="Do deep networks without skip connections train worse than shallow ones, and those with them not? Does "
    "the gradient get past a block that is dead, and does a trained network bear the loss of a whole block?",
    varies="the form of the blocks (plain, additive, classic, pre-activation) and the depth (20, 56, 110; smoke: 8)",
    held="batch normalization, 16 filters at first (smoke: 4), images, seeds, epochs; Nesterov's momentum 0.9 at a "
    "constant rate of 0.05, without augmentation or weight decay",
    measured="loss and accuracy; norms of the gradients of all convolutions for one batch, at first and after an "
    "epoch; the stem's gradient where all weights of the middle block are 0; validation accuracy without each block "
    "that keeps the shape (of a plain network the block then passes on what it gets)",
    claims=(
        Claim(
            "Without skip connections, a deep network trains worse than a shallow one.",
            "The deepest plain network has no larger training loss than the shallowest.",
            at_depth("train_loss", "plain", max),
            at_depth("train_loss", "plain", min),
            "larger",
            "the training loss of plain networks, the deepest against the shallowest (nats)",
        ),
        Claim(
            "With skip connections, a deep network trains better than a plain one.",
            "The deepest classic network has no smaller training loss than the deepest plain one.",
            at_depth("train_loss", "classic", max),
            at_depth("train_loss", "plain", max),
            "smaller",
            "the training loss at the largest depth (nats)",
        ),
        Claim(
            "The gradient gets past a dead block by the skip connection.",
            "The stem's gradient is no larger with a skip connection around a block whose weights are 0.",
            at_depth("dead_gradient", "classic", min),
            at_depth("dead_gradient", "plain", min),
            "larger",
            "the norm of the stem's gradient past a dead block",
        ),
        Claim(
            "A trained residual network bears the loss of a block better than a plain one.",
            "Taking one block out costs as much accuracy with skip connections as without.",
            at_depth("drop", "classic", min),
            at_depth("drop", "plain", min),
            "smaller",
            "the accuracy lost with one block, on average over the blocks",
        ),
        Claim(
            "Skip connections make the gradients of all layers alike in size at initialization.",
            "The gradients of the layers of a classic network span as many decades as those of a plain one.",
            log_span("classic"),
            log_span("plain"),
            "smaller",
            "the span of the gradients' norms over the layers, at the largest depth (decades)",
        ),
    ),
    grid=grid,
    measure=measure,
    charts=charts,
    columns={
        "train_loss": "training loss (nats)",
        "val_loss": "validation loss (nats)",
        "val_accuracy": "validation accuracy",
        "stem_gradient": "stem's gradient",
        "dead_gradient": "the same past a dead block",
        "drop": "accuracy lost with a block",
    },
    group=("form", "depth"),
    seeds=3,
    reference="He et al., 2015, arXiv:1512.03385; He et al., 2016, arXiv:1603.05027; Veit et al., 2016, "
    "arXiv:1605.06431",
)
