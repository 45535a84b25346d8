"""Compares recordings, quantity by quantity."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.parity.recording import Array, Recording
from kzoo.parity.tolerances import DISCONTINUOUS, TOLERANCES


@dataclasses.dataclass(frozen=True)
class Row:
    """How far apart recordings are in one quantity.

    Attributes:
        quantity: One of `TOLERANCES`.
        between: Names of the two recordings that are furthest apart.
        difference: The largest `max |a - b| / max |a|` of a tensor, or fraction of its booleans that differ; infinite
            where bits that must agree do not, or a tensor is not finite, has another shape, or is missing.
        tolerance: The largest difference that passes; `None` where the quantity is only shown.
        where: The first tensor beyond the tolerance in the order of computation, or that of the largest difference.
        passed: Whether the difference is within the tolerance.
    """

    quantity: str
    between: tuple[str, str]
    difference: float
    tolerance: float | None
    where: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Returns it for `json.dumps`; JSON has no infinity, so that such a difference is `None`."""
        return dataclasses.asdict(self) | {"difference": self.difference if math.isfinite(self.difference) else None}


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare`.

    Attributes:
        recordings: The `Recording`s, under names that tell them apart.
        rows: One `Row` a quantity, of the pair that is furthest apart, in the order of computation.
        pairs: One `Row` a quantity and pair.
    """

    recordings: tuple[Recording, ...]
    rows: tuple[Row, ...]
    pairs: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether every quantity of every pair is within its tolerance."""
        return all(row.passed for row in self.pairs)

    @property
    def first_failure(self) -> Row | None:
        """The failed row that is nearest to the cause: a training computes the other failed ones later."""
        return next((row for row in self.rows if not row.passed), None)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it but the arrays, for `json.dumps`."""
        return {
            "passed": self.passed,
            "settings": self.recordings[0].settings,
            "recordings": {recording.name: recording.environment for recording in self.recordings},
            "rows": [row.to_dict() for row in self.rows],
            "pairs": [row.to_dict() for row in self.pairs],
        }


def compare(recordings: Sequence[Recording]) -> Comparison:
    """Compares every pair of recordings of the same training.

    Args:
        recordings: Two `Recording`s or more, with different names.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: If there are fewer than two, two have one name, or their settings differ.

    Example:
        >>> compare([Recording.load("jax.npz"), Recording.load("torch.npz")]).passed
        True
    """
    names = [recording.name for recording in recordings]
    if len(set(names)) < max(2, len(names)):
        raise ValueError(
            f"Expected two recordings or more, of different names. Received: {', '.join(names) or 'none'}."
        )
    first = recordings[0]
    for other in recordings[1:]:
        _check_same_settings(first, other)
    dtype = first.settings["recipe"]["precision"]
    pairs = [
        _row(quantity, a, b, DISCONTINUOUS[quantity] if _jumps(quantity, a, b) else getattr(tolerance, dtype))
        for quantity, tolerance in TOLERANCES.items()
        for a, b in itertools.combinations(recordings, 2)
        if any(recording.quantity(quantity) for recording in recordings)
    ]
    rows = [
        max(group, key=lambda row: (not row.passed, row.difference))
        for _, group in itertools.groupby(pairs, key=lambda row: row.quantity)
    ]
    return Comparison(tuple(recordings), tuple(rows), tuple(pairs))


def _check_same_settings(a: Recording, b: Recording) -> None:
    ours, theirs = _flat(a.settings), _flat(b.settings)
    different = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if different:
        said = "; ".join(
            f"{key} is {ours.get(key)!r} in {a.name}, {theirs.get(key)!r} in {b.name}" for key in different
        )
        raise ValueError(f"Recordings compare if they are of the same training. Received: {said}.")


def _flat(settings: Any) -> dict[str, Any]:
    """Returns settings with one level: `recipe.momentum`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = {f"{key}.{name}": item for name, item in _flat(value).items()} if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else inner
    return flat


def _row(quantity: str, a: Recording, b: Recording, tolerance: float | None) -> Row:
    ours, theirs = a.quantity(quantity), b.quantity(quantity)
    differences = {}
    for where in [*ours, *(where for where in theirs if where not in ours)]:
        if where not in theirs or where not in ours:
            differences[f"{where} (only in {a.name if where in ours else b.name})"] = math.inf
        elif ours[where].shape != theirs[where].shape:
            differences[f"{where} (shape {ours[where].shape}, {theirs[where].shape})"] = math.inf
        else:
            differences[where] = _difference(ours[where], theirs[where])
    furthest = max(differences, key=lambda where: differences[where], default="")
    beyond = [] if tolerance is None else [where for where, value in differences.items() if not value <= tolerance]
    where = beyond[0] if beyond else furthest
    return Row(quantity, (a.name, b.name), differences.get(furthest, 0.0), tolerance, where, not beyond)


def _jumps(quantity: str, a: Recording, b: Recording) -> bool:
    """Returns whether a unit is active on one side only, and a quantity jumps with it."""
    return quantity in DISCONTINUOUS and _row("active units", a, b, None).difference > 0


def _difference(a: Array, b: Array) -> float:
    """Returns `max |a - b| / max |a|`; the fraction that differs of booleans; 0 or infinity for what is no number."""
    if a.dtype.kind == b.dtype.kind == "b":
        return float(np.mean(a != b))
    if a.dtype.kind not in "iuf" or b.dtype.kind not in "iuf":
        return 0.0 if np.array_equal(a, b) else math.inf
    if a.dtype != b.dtype or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    largest = float(np.abs(a - b).max(initial=0))
    return largest / float(np.abs(a).max()) if largest and a.any() else math.inf if largest else 0.0
