"""Whether a classifier that says 80 % is right four times in five, and what makes it so.

Reference:
    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599), sections 2 and 4.2
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.evaluation.metrics import log_softmax

BINS = 15
_RANGE = (-5.0, 5.0)  # of the temperature's logarithm


def calibration_error(log_probabilities: npt.NDArray[Any], labels: npt.NDArray[np.int64], bins: int = BINS) -> float:
    """Returns the expected calibration error: how far confidence and accuracy are apart, on average over the images.

    Images are put into bins of equal width by the probability of the likeliest class; a bin goes from above its lower
    edge to its upper edge.

    Args:
        log_probabilities: Array of shape `(images, classes)`, logarithms of probabilities. Rows that are not numbers
            count as confidence 0, and wrong.
        labels: Integers of shape `(images,)`.
        bins: Integer, how many bins. Defaults to `15`.

    Returns:
        A float in [0, 1].

    Reference:
        - [Guo et al., 2017](https://arxiv.org/abs/1706.04599), equation 3
    """
    answered = np.isfinite(log_probabilities.max(axis=1))
    confidence = np.where(answered, np.exp(log_probabilities.max(axis=1)), 0.0)
    right = answered & (log_probabilities.argmax(axis=1) == labels)
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def fitted_temperature(log_probabilities: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float | None:
    """Returns what to divide logits by so that the probabilities fit images as well as they can.

    It changes no order: the likeliest class stays the likeliest. Fit it on images that were not trained on and that are
    not tested on.

    Args:
        log_probabilities: Array of shape `(images, classes)`, logits or logarithms of probabilities.
        labels: Integers of shape `(images,)`.

    Returns:
        A float above 0; or `None` where there is no best one: all images are right, the model is no better than
        chance, or it does not say numbers.

    Reference:
        - [Guo et al., 2017](https://arxiv.org/abs/1706.04599), section 4.2
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))
    if not np.isfinite(log_probabilities).all() or (log_probabilities.argmax(axis=1) == labels).all():
        return None

    def loss(exponent: float) -> float:
        return float(-log_softmax(log_probabilities / np.exp(exponent))[rows, labels].mean())

    found = float(minimize_scalar(loss, bounds=_RANGE, method="bounded", options={"xatol": 1e-6}).x)
    return float(np.exp(found)) if min(found - _RANGE[0], _RANGE[1] - found) > 1e-3 else None
