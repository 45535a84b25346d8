import math

import numpy as np
import pytest
from scipy import stats

from kzoo.studies.conclusions import conclude, judge
from kzoo.studies.study import Claim, of


@pytest.mark.parametrize(
    ("differences", "expected", "verdict"),
    [
        ([1.0, 1.1, 0.9], "larger", "supported"),
        ([1.0, 1.1, 0.9], "smaller", "contradicted"),
        ([-1.0, -1.1, -0.9], "smaller", "supported"),
        ([-1.0, -1.1, -0.9], "larger", "contradicted"),
        ([1.0, -1.0, 0.5], "larger", "undecided at this n"),
        ([0.0, 0.0, 0.0], "larger", "undecided at this n"),
        ([0.0, 0.0, 0.0], "smaller", "undecided at this n"),
        ([2.0, 2.0, 2.0], "larger", "supported"),
        ([2.0, 2.0], "larger", "undecided at this n"),  # two seeds decide nothing, however alike they are
        ([2.0], "larger", "undecided at this n"),
        ([], "larger", "undecided at this n"),
    ],
)
def test_conclusion_follows_from_the_numbers(differences, expected, verdict):
    assert conclude(differences, expected).verdict == verdict


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.1] * 4, "contradicted"), ([0.9] * 4, "supported"), ([0.4, 0.6, 0.45, 0.55], "undecided at this n")],
)
def test_conclusion_counts_no_difference_below_the_least(differences, verdict):
    assert conclude(differences, "larger", least=0.5).verdict == verdict
    assert conclude([-one for one in differences], "smaller", least=0.5).verdict == verdict


def test_interval_is_that_of_students_t():
    values = np.random.RandomState(0).standard_normal(7) + 0.4
    found = conclude(values.tolist(), "larger")
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.effect == pytest.approx(values.mean())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_conclusion_takes_no_numbers_that_are_not_finite(value):
    with pytest.raises(ValueError, match="`differences` must be finite numbers. Received: differences="):
        conclude([1.0, value], "larger")


def test_conclusion_knows_two_directions():
    with pytest.raises(ValueError, match="`expected` must be one of larger, smaller. Received: expected='equal'."):
        conclude([1.0], "equal")


CLAIM = Claim("It helps.", "It does not.", of("loss", on=True), of("loss", on=False), "smaller", "the loss (nats)")


def rows(with_it, without):
    return [
        {"on": on, "seed": seed, "loss": loss}
        for on, losses in ((True, with_it), (False, without))
        for seed, loss in enumerate(losses)
    ]


def test_claim_is_judged_by_each_seed_against_itself():
    # The seeds differ by far more than the technique: unpaired, nothing would be seen.
    found = judge(CLAIM, rows([0.9, 9.9, 99.9], [1.0, 10.0, 100.0]))
    assert (found.verdict, found.effect) == ("supported", pytest.approx(-0.1))


def test_seed_without_a_value_is_left_out_and_told():
    found = judge(CLAIM, rows([1.0, 1.1, 0.9, None], [2.0, 2.0, 2.0, 2.0]))
    assert (found.n, found.left_out, found.verdict) == (3, 1, "supported")
    assert found.sentence("the loss (nats)") == (
        "Difference in the loss (nats): -1, 95 % interval -1.25 to -0.752 (n = 3). "
        "Without a value on one side, and left out: 1 of 4 seeds."
    )


def test_claim_without_cells_is_undecided():
    found = judge(CLAIM, [{"on": True, "seed": 0, "loss": 1.0}])
    assert (found.verdict, found.n, found.left_out) == ("undecided at this n", 0, 1)
    assert found.sentence("the loss (nats)") == "Not measured on both sides: the loss (nats)."
