"""From predictions to names."""

from typing import Any

import numpy as np

from kzoo import arguments
from kzoo.evaluation import are_logits, as_logits, log_softmax
from kzoo.presets.registry import preset_info


def decode_predictions(
    predictions: Any,
    top: int = 5,
    *,
    class_names: Any = None,
    from_logits: bool | None = None,
) -> list[list[tuple[str, float]]]:
    """Names the likeliest classes of each image; of equally likely ones the first comes first.

    Args:
        predictions: Array of shape `(images, classes)`, the logits or probabilities that a model predicts.
        top: Integer, how many classes to name, or all if there are fewer. Defaults to `5`.
        class_names: One name a class; or what knows them: a model from `kzoo.load_preset` or `Run.load_model`, or the
            name of a preset. It must be given: how many numbers there are does not tell what they are of.
        from_logits: Boolean, whether these are logits. Defaults to `None`, to see it by the numbers: probabilities are
            never negative and add up to 1, everything else is logits.

    Returns:
        For each image a list of `(class name, probability)`, the likeliest first.

    Raises:
        ValueError: If the predictions are not of that shape or not finite, `top` is below 1, there are no such names,
            or the numbers contradict `from_logits`.

    Example:
        >>> model = kzoo.load_preset("digits/resnet20")
        >>> images = kzoo.load_dataset("digits").test.read([0])
        >>> kzoo.decode_predictions(model.predict(images, verbose=0), top=1, class_names=model)
        [[('...', 0...)]]
    """
    predictions = arguments.numeric(predictions, "predictions").astype(np.float64)
    if predictions.ndim != 2 or predictions.shape[1] == 0 or not np.isfinite(predictions).all():
        raise ValueError(
            f"`predictions` must be finite, of shape (images, classes). Received: shape={predictions.shape}."
        )
    top = arguments.integer(top, "top", least=1)
    names = _names(predictions.shape[1], class_names)
    log_p = log_softmax(as_logits(predictions, are_logits(predictions, from_logits)))
    best = np.argsort(-log_p, axis=1, kind="stable")[:, :top]
    return [[(names[i], float(row[i])) for i in order] for row, order in zip(np.exp(log_p), best, strict=True)]


def _names(classes: int, given: Any) -> tuple[str, ...]:
    known = preset_info(given).class_names if isinstance(given, str) else getattr(given, "class_names", given)
    if known is None:
        received = "None" if given is None else f"{given!r}, which does not know them"
        raise ValueError(
            f"`class_names` must be the names of the {classes} classes, or what knows them: a model from "
            "`kzoo.load_preset`, or the name of a preset, such as 'akamaster_resnet20'. "
            f"Received: class_names={received}."
        )
    return arguments.names(known, "class_names", classes)
