"""Conclusions: computed from the numbers alone, never written ahead."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Literal, get_args

from kzoo.choices import check_choice
from kzoo.studies.study import Claim, Expected, Row

CONFIDENCE = 0.95
LEAST_SEEDS = 3  # fewer decide nothing, however clear they look

Verdict = Literal["supported", "contradicted", "undecided at this n"]


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What the numbers say of a claim.

    Attributes:
        verdict: `"supported"` if the whole interval is on the claimed side of the smallest difference that counts,
            `"contradicted"` if it is on the other side, otherwise `"undecided at this n"`.
        effect: Mean over the seeds of the difference, with the technique minus without it, or `None` without any.
        low: Lower end of the 95 % confidence interval of the effect, or `None` where there are fewer than two seeds.
        high: Its upper end, or `None`.
        n: How many seeds gave both values.
        left_out: How many seeds did not, for example since a loss was not finite.
    """

    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    n: int
    left_out: int = 0

    def sentence(self, quantity: str) -> str:
        """Returns the numbers in words.

        Args:
            quantity: What was compared, with its unit.
        """
        if self.effect is None:
            return f"Not measured on both sides: {quantity}."
        said = f"Difference in {quantity}: {shown(self.effect)}"
        if self.low is None or self.high is None:
            said += " (n = 1), which has no interval."
        else:
            said += f", 95 % interval {shown(self.low)} to {shown(self.high)} (n = {self.n})."
        if self.n < LEAST_SEEDS:
            said += f" Fewer than {LEAST_SEEDS} seeds decide nothing."
        if self.left_out:
            said += f" Without a value on one side, and left out: {self.left_out} of {self.n + self.left_out} seeds."
        return said


def conclude(differences: Sequence[float], expected: Expected, left_out: int = 0, least: float = 0.0) -> Conclusion:
    """Returns what differences by seed say: a Student's t interval of their mean, and on which side it is.

    Args:
        differences: One number a seed, with the technique minus without it.
        expected: `"larger"` or `"smaller"`, what the claim says of the technique's values.
        left_out: Integer, how many seeds have no difference. Defaults to `0`.
        least: Float, at least 0, the smallest difference that counts. Defaults to `0.0`.

    Raises:
        ValueError: If `expected` is something else, or a difference is not finite.

    Reference:
        - Student, 1908, The probable error of a mean, Biometrika 6
    """
    check_choice("expected", expected, get_args(Expected))
    values = [float(one) for one in differences]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"`differences` must be finite numbers. Received: differences={values}.")
    n = len(values)
    if n == 0:
        return Conclusion("undecided at this n", None, None, None, 0, left_out)
    effect = statistics.fmean(values)
    if n == 1:
        return Conclusion("undecided at this n", effect, None, None, 1, left_out)
    half = _quantile(n - 1) * statistics.stdev(values) / math.sqrt(n)
    low, high = effect - half, effect + half
    sides = (low > least, high < least) if expected == "larger" else (high < -least, low > -least)
    verdict: Verdict = "undecided at this n"
    if n >= LEAST_SEEDS and any(sides):
        verdict = "supported" if sides[0] else "contradicted"
    return Conclusion(verdict, effect, low, high, n, left_out)


def judge(claim: Claim, rows: Sequence[Row]) -> Conclusion:
    """Returns what the rows of a study say of a claim. Each seed is compared with itself.

    Args:
        claim: The `Claim`.
        rows: All rows of the study.
    """
    by_seed = dict[int, list[Row]]()
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(row)
    pairs = [(claim.this(of_seed), claim.other(of_seed)) for of_seed in by_seed.values()]
    found = [this - other for this, other in pairs if this is not None and other is not None]
    return conclude(found, claim.expected, len(pairs) - len(found), claim.least)


def shown(value: float) -> str:
    """Returns a number with its sign and three digits that count."""
    return f"{value:+.3g}" if value else "0"


def _quantile(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))
