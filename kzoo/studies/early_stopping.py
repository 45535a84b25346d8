"""How many epochs does early stopping save, and what does it give up?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.streams import stream
from kzoo.studies.bench import Bench, some
from kzoo.studies.network import score
from kzoo.studies.study import Chart, Claim, Measures, Row, Settings, Study, curve, line, of

PATIENCES = (1, 2, 5, 10)
MIN_DELTAS = (0.0, 0.01, 0.1)
WATCHED = {"many": 500, "few": 16}  # validation images whose loss is watched, at most
RATES = (0.02, 0.1)
EPOCHS, DEPTH, FILTERS, IMAGES = 40, 8, 16, 256


def grid(smoke: bool) -> list[Settings]:
    """Returns each learning rate: all else is replayed on its curves."""
    return [{"rate": rate} for rate in (RATES[:1] if smoke else RATES)]


def measure(bench: Bench, settings: Settings, seed: int) -> Measures:
    """Trains to the end, and records what could be watched, and how good the network is on other images."""
    network = bench.network(depth=DEPTH, filters=4 if bench.smoke else FILTERS).start(seed)
    validation = bench.dataset.validation
    order = stream(0, "study", "watched").permutation(len(validation))
    halves = [validation.take(np.sort(part)) for part in np.array_split(order, 2)]
    watched = {name: some(halves[0], images, "watched") for name, images in WATCHED.items()}
    judged = some(halves[1], 1000, "judged")
    found: Measures = {f"watched_{name}": [] for name in watched} | {"judged": []}

    def after_epoch(epoch: int) -> None:
        for name, split in watched.items():
            found[f"watched_{name}"].append(network.evaluate(split).loss)
        found["judged"].append(score(network.logits(judged.images), judged.labels).loss)

    epochs = 3 if bench.smoke else EPOCHS
    images = bench.training(IMAGES)
    losses = network.train(images, seed=seed, epochs=epochs, rate=settings["rate"], after_epoch=after_epoch)
    return found | {"losses": losses, "final_loss": found["judged"][-1] if found["judged"] else None}


def replay(losses: Sequence[float | None], patience: int, min_delta: float) -> tuple[int, int]:
    """Returns after which epoch early stopping would end, and which epoch's weights it would restore, counted from 1.

    As `keras.callbacks.EarlyStopping(mode="min")`: an epoch is the best so far if its loss is below the best loss by
    more than `min_delta`; after `patience` epochs in a row that are not, training stops. A loss that is not finite
    (`None`) is no improvement.

    Args:
        losses: What is watched, one number an epoch.
        patience: Integer, 1 or larger.
        min_delta: Float, 0 or larger.

    Raises:
        ValueError: If there are no losses.
    """
    if not losses:
        raise ValueError(f"`losses` must be at least one. Received: losses={list(losses)}.")
    best, kept, waited = float("inf"), 1, 0
    for epoch, loss in enumerate(losses, start=1):
        waited += 1
        if loss is not None and loss + min_delta < best:
            best, kept, waited = loss, epoch, 0
        if waited >= patience and epoch > 1:
            return epoch, kept
    return len(losses), kept


def replayed(rows: Sequence[Row]) -> list[Row]:
    """Returns a row for each recorded training and each way to stop it."""
    return [
        _replay_of(row, watched, patience, min_delta)
        for row in rows
        if row["judged"] and None not in row["judged"]
        for watched in WATCHED
        for patience in PATIENCES
        for min_delta in MIN_DELTAS
    ]


def _replay_of(row: Row, watched: str, patience: int, min_delta: float) -> dict[str, Any]:
    losses, judged = row[f"watched_{watched}"], row["judged"]
    stopped, kept = replay(losses, patience, min_delta)
    best = 1 + min(range(len(losses)), key=lambda epoch: losses[epoch] if losses[epoch] is not None else np.inf)
    settings = {"rate": row["rate"], "seed": row["seed"], "watched": watched}
    return settings | {
        "patience": patience,
        "min_delta": min_delta,
        "stopped": stopped,
        "kept": kept,
        "saved": 1 - stopped / len(losses),
        "given_up": judged[kept - 1] - judged[best - 1],
        "loss_kept": judged[kept - 1],
        "loss_stopped": judged[stopped - 1],
        "loss_at_end": judged[-1],
        "too_early": float(kept < best),
        "judged": judged,
        "watched_losses": losses,
    }


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Returns the charts of the report."""
    ways = [(f"min_delta {one}", {"watched": "many", "min_delta": one}) for one in MIN_DELTAS]
    ways.append(("few images watched, min_delta 0", {"watched": "few", "min_delta": 0.0}))
    saved, given_up, early = (
        [line(label, rows, "patience", name, **of_way) for label, of_way in ways]
        for name in ("saved", "given_up", "too_early")
    )
    one_way = {"patience": PATIENCES[0], "min_delta": MIN_DELTAS[0]}
    rates = list(dict.fromkeys(row["rate"] for row in rows))
    curves = [curve(f"rate {rate}", rows, "judged", rate=rate, watched="many", **one_way) for rate in rates]
    x = "patience (epochs)"
    return [
        Chart("curves", "Loss on the images that judge", "epoch", "loss (nats)", curves, log_y=True),
        Chart("saved", "Epochs saved", x, "share of the epochs", saved, log_x=True),
        Chart("given_up", "Loss given up", x, "excess over the best epoch (nats)", given_up, log_x=True),
        Chart("too_early", "Stopped before the best epoch", x, "share of the trainings", early, log_x=True),
    ]


_USUAL: dict[str, Any] = {"watched": "many", "patience": 5, "min_delta": 0.01}

STUDY = Study(
    name="early_stopping",
    title="What is early stopping worth?",
    question="How many epochs does early stopping save, and how much loss does it give up? Where does noise stop too "
    "early, and what is it worth to restore the best weights?",
    varies="patience and min_delta, replayed on recorded curves, without another training; how many images are watched "
    "(up to 500, or 16, whose loss is noise in part); the learning rate",
    held="residual network (depth 8, 16 filters; smoke: 4), 256 training images, seeds, 40 epochs (smoke: 3); "
    "Nesterov's momentum 0.9 at a constant rate, without augmentation or weight decay",
    measured="validation loss after each epoch, of one half of the validation images to watch and the other half to "
    "judge by, so that what is chosen is not judged by what it was chosen by",
    claims=(
        Claim(
            "The weights that early stopping restores are better than those of training to the end.",
            "Their loss is no lower (patience 5, min_delta 0.01).",
            of("loss_kept", **_USUAL),
            of("loss_at_end", **_USUAL),
            "smaller",
            "the loss of the restored weights against the last epoch's (nats)",
        ),
        Claim(
            "To restore the best weights is better than to keep those of the epoch that stopped.",
            "The loss of the restored weights is no lower (patience 5, min_delta 0.01).",
            of("loss_kept", **_USUAL),
            of("loss_stopped", **_USUAL),
            "smaller",
            "the loss of the restored weights against those at the stop (nats)",
        ),
        Claim(
            "Little patience stops too early: it gives up loss.",
            "A patience of 1 gives up no more than one of 10.",
            of("given_up", watched="many", patience=1, min_delta=0.0),
            of("given_up", watched="many", patience=10, min_delta=0.0),
            "larger",
            "the loss given up by a patience of 1 against 10 (nats)",
        ),
        Claim(
            "Where the watched loss is noise, early stopping chooses worse weights.",
            "Watching 16 images gives weights of no higher loss than watching many (patience 2, min_delta 0).",
            of("loss_kept", watched="few", patience=2, min_delta=0.0),
            of("loss_kept", watched="many", patience=2, min_delta=0.0),
            "larger",
            "the loss of the restored weights, few images watched against many (nats)",
        ),
    ),
    grid=grid,
    measure=measure,
    charts=charts,
    columns={
        "stopped": "epochs",
        "saved": "epochs saved (share)",
        "given_up": "loss given up (nats)",
        "loss_kept": "loss restored (nats)",
        "loss_stopped": "loss at the stop (nats)",
        "loss_at_end": "loss at the end (nats)",
        "too_early": "too early (share)",
    },
    group=("watched", "patience", "min_delta"),
    seeds=20,
    reference="Prechelt, 1998, Early stopping - but when?, doi.org/10.1007/3-540-49430-8_3",
    derive=replayed,
)
