"""From logits to names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.weights.registry import list_weights, weights_info


def decode_predictions(
    logits: Any, top: int = 5, *, class_names: Sequence[str] | str | None = None
) -> list[list[tuple[str, float]]]:
    """Names the likeliest classes of each image.

    Args:
        logits: Array of shape `(images, classes)`, what a model without a last activation predicts.
        top: Integer, how many classes to name, or all if there are fewer. Defaults to `5`.
        class_names: One name a class, or the name of registered weights. Defaults to the names that the registered
            weights of as many classes have.

    Returns:
        For each image a list of `(class name, probability)`, the likeliest first.

    Raises:
        ValueError: If the logits are not of that shape or not finite, `top` is below 1, or there are no such names.

    Example:
        >>> kzoo.decode_predictions(kzoo.resnet20(weights="akamaster_resnet20").predict(images), top=1)
        [[('cat', 0.97...)]]
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or logits.shape[1] == 0 or not np.isfinite(logits).all():
        raise ValueError(f"`logits` must be finite, of shape (images, classes). Received: shape={logits.shape}.")
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received: top={top}.")
    names = _names(logits.shape[1], class_names)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return [[(names[i], float(row[i])) for i in order] for row, order in zip(probabilities, best, strict=True)]


def _names(classes: int, given: Sequence[str] | str | None) -> tuple[str, ...]:
    if given is None:
        known = {entry.class_names for entry in map(weights_info, list_weights()) if entry.classes == classes}
        if len(known) != 1:
            raise ValueError(
                f"`class_names` must be given for {classes} classes: there are {len(known)} sets of names for so many "
                "among the registered weights. Received: class_names=None."
            )
        return known.pop()
    names = weights_info(given).class_names if isinstance(given, str) else tuple(given)
    if len(names) != classes:
        raise ValueError(f"`class_names` must be {classes}, one a class. Received: {len(names)}.")
    return names
