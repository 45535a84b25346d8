import numpy as np
import pytest

from kzoo.evaluation import calibration_error, fitted_temperature, log_softmax


def logarithms(probabilities):
    return np.log(np.asarray(probabilities, np.float64))


def test_calibration_error_is_the_mean_gap_of_the_bins():
    # Three images in the bin of 0.9, of which two are right; one in the bin of 0.6, which is right.
    log_p = logarithms([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    gaps = [3 / 4 * abs(2 / 3 - 0.9), 1 / 4 * abs(1 - 0.6)]
    assert calibration_error(log_p, np.array([0, 0, 0, 0])) == pytest.approx(sum(gaps))


def test_bin_goes_to_its_upper_edge():
    log_p = logarithms([[0.5, 0.5], [0.75, 0.25]])  # the edges of the bins are 0.5 and 0.75
    labels = np.array([0, 1])
    assert calibration_error(log_p, labels, bins=4) == pytest.approx(1 / 2 * 0.5 + 1 / 2 * 0.75)


def test_calibration_error_of_a_sure_and_right_model_is_zero():
    with np.errstate(divide="ignore"):
        assert calibration_error(logarithms([[1, 0], [0, 1]]), np.array([0, 1])) == 0


def test_answers_that_are_no_numbers_are_wrong_without_confidence():
    log_p = np.array([[np.nan, np.nan], [0.0, -np.inf]])
    assert calibration_error(log_p, np.array([0, 0])) == 0
    assert fitted_temperature(log_p, np.array([0, 0])) is None


def test_temperature_that_was_put_in_is_found():
    random = np.random.RandomState(0)
    logits = random.standard_normal((20_000, 5)) * 2
    chances = np.exp(log_softmax(logits))
    labels = (chances.cumsum(axis=1) > random.random_sample((20_000, 1))).argmax(axis=1)
    assert fitted_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)
    assert calibration_error(log_softmax(3 * logits), labels) > 0.1
    assert calibration_error(log_softmax(logits), labels) < 0.02


def test_temperature_is_none_where_everything_is_right():
    assert fitted_temperature(logarithms([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])) is None
