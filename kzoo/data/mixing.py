"""Batches whose images are mixed with each other, and their labels in the same shares."""

import dataclasses
import functools
import math
from bisect import bisect_right
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from kzoo.arguments import number
from kzoo.data.images import Images

LARGEST_ALPHA = 100.0  # from there on every share is near 1/2
_LEVELS = 256  # a share is a whole number of these parts

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixes each image of a batch with another one of it, by mixup or cutmix.

    Both draw from Beta(alpha, alpha) how much stays of the image, once for a batch, and which image it is mixed with
    from a permutation of the batch. Mixup gives the weighted mean of the two images. Cutmix pastes a rectangle of the
    other one, whose centre is anywhere, so that it may reach beyond the border: what lies within counts. If both are
    on, each batch takes one of them, with equal chances.

    The share that stays is a multiple of 1/256, and the pixels of mixup are rounded to whole numbers, so that all of it
    is arithmetic of integers, which gives the same bytes everywhere.

    Args:
        mixup: Float in [0, 100], the alpha of mixup; 0 for none. Defaults to `0.0`.
        cutmix: Float in [0, 100], the alpha of cutmix; 0 for none. Defaults to `0.0`.
        share: Float in [0, 1], the share of batches that are mixed. Defaults to `1.0`.

    Call arguments:
        images: uint8 array of shape `(batch, height, width, channels)`.
        labels: float32 array of shape `(batch, classes)`.
        weights: float32 array of shape `(batch,)`, what each image counts in the loss, or `None`. They are mixed so
            that the loss is what the two images, each with its own label and weight, would add to it.
        random: `numpy.random.RandomState` to draw from.

    Returns:
        Images, labels and weights, shaped as before.

    Raises:
        ValueError: If an argument is not one of those above.

    Example:
        >>> mix = kzoo.Mixing(mixup=0.2, share=0.5)
        >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.eye(4, dtype="float32")
        >>> mix(images, labels, None, np.random.RandomState(0))[1].shape
        (4, 4)

    References:
        - [Zhang et al., 2017](https://arxiv.org/abs/1710.09412), section 2 (mixup)
        - [Yun et al., 2019](https://arxiv.org/abs/1905.04899), section 3 (cutmix)
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        for name, most in (("mixup", LARGEST_ALPHA), ("cutmix", LARGEST_ALPHA), ("share", 1.0)):
            value = number(getattr(self, name), name)
            object.__setattr__(self, name, value)
            if not 0 <= value <= most:
                raise ValueError(f"`{name}` must be between 0 and {most:g}. Received: {name}={value!r}.")

    def __call__(
        self, images: Images, labels: Floats, weights: Floats | None, random: np.random.RandomState
    ) -> tuple[Images, Floats, Floats | None]:
        count, height, width, _ = images.shape
        # Every draw is made whatever the settings, so that switching one off leaves the others as they were.
        mixes, kind, amount, row, column = random.random_sample(5).tolist()
        other = random.permutation(count)
        if mixes >= self.share or not (self.mixup or self.cutmix):
            return images, labels, weights
        if self.cutmix and (not self.mixup or kind < 0.5):
            stays = _beta(self.cutmix, amount)
            top, bottom = _cut(row, height, _LEVELS - stays)
            left, right = _cut(column, width, _LEVELS - stays)
            images = images.copy()
            images[:, top:bottom, left:right] = images[other, top:bottom, left:right]
            pasted, whole = (bottom - top) * (right - left), height * width
        else:
            pasted, whole = _LEVELS - _beta(self.mixup, amount), _LEVELS
            both = images * np.uint16(whole - pasted) + images[other] * np.uint16(pasted)
            images = ((both + np.uint16(whole // 2)) // np.uint16(whole)).astype(np.uint8)
        return images, *_mixed_labels(labels, weights, other, whole - pasted, pasted)


def _mixed_labels(
    labels: Floats, weights: Floats | None, other: npt.NDArray[np.int_], stays: int, pasted: int
) -> tuple[Floats, Floats | None]:
    """Returns labels and weights of images of which so many parts stay, and so many come from another one."""
    known = np.ones(len(labels), np.float32) if weights is None else weights
    own: Floats = known * np.float32(stays)
    others: Floats = known[other] * np.float32(pasted)
    both: Floats = own + others
    mixed: Floats = labels * own[:, None] + labels[other] * others[:, None]
    mixed /= np.where(both > 0, both, np.float32(1))[:, None]  # what counts nothing has no label
    if weights is None:
        return mixed, None
    both /= np.float32(stays + pasted)
    return mixed, both


def _cut(position: float, size: int, parts: int) -> tuple[int, int]:
    """Returns the first and the last row (or column), not included, of a rectangle.

    Args:
        position: Float in [0, 1), where its centre lies.
        size: Integer, the image's height (or width).
        parts: Integer, the share of the image's area that it would have within an endless image, in 256ths.
    """
    length = math.isqrt(size * size * parts * _LEVELS) // _LEVELS  # size * sqrt(parts / 256)
    first = int(position * size) - length // 2
    return max(first, 0), min(first + length, size)


def _beta(alpha: float, position: float) -> int:
    """Returns the quantile of Beta(alpha, alpha) at a position in [0, 1), rounded to 256ths."""
    return bisect_right(_borders(alpha), position)


@functools.lru_cache(maxsize=16)
def _borders(alpha: float) -> tuple[float, ...]:
    """Returns the probabilities that a draw from Beta(alpha, alpha) is below 0.5, 1.5, ..., 255.5 parts of 256.

    In decimal numbers, whose logarithm and exponential are rounded in the same way everywhere; those of floats are not.
    """
    with localcontext(prec=30):
        below = [_incomplete_beta(Decimal(alpha), (Decimal(level) + Decimal("0.5")) / _LEVELS) for level in range(128)]
        half = _incomplete_beta(Decimal(alpha), Decimal("0.5"))
        lower = [part / (2 * half) for part in below]
        return (*map(float, lower), *(float(1 - part) for part in reversed(lower)))


def _incomplete_beta(alpha: Decimal, x: Decimal) -> Decimal:
    """Returns the integral of (t (1 - t))^(alpha - 1) from 0 to x, up to a factor that depends on alpha alone.

    Reference:
        - NIST Digital Library of Mathematical Functions, equation 8.17.8
    """
    term = total = (alpha * (4 * x * (1 - x)).ln()).exp()
    n = 0
    while total + term != total:
        term *= x * (2 * alpha + n) / (alpha + 1 + n)
        total += term
        n += 1
    return total
