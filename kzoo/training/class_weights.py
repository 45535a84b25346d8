"""What the images of each class count in the loss of a training."""

import numpy as np

from kzoo.choices import hint
from kzoo.data import Dataset, Split
from kzoo.training.recipe_checks import ClassWeights


def weighted_training_split(dataset: Dataset, class_weights: ClassWeights) -> Split:
    """Returns the training split of a dataset, with the weights of its images times those of their classes.

    Args:
        dataset: The `Dataset`.
        class_weights: Class name to weight, 1 for a class that is left out; `"balanced"`, as `Dataset.balanced` does;
            or `None` to leave it as it is.

    Raises:
        ValueError: If there is no such class, or no image would count.
    """
    split = dataset.train
    if class_weights is None:
        return split
    if class_weights == "balanced":
        return dataset.balanced().train
    for name in class_weights:
        if name not in dataset.class_names:
            raise ValueError(
                f"`class_weights` must be of classes of {dataset.name!r}. "
                f"Received: {name!r}.{hint(name, dataset.class_names)}"
            )
    each = np.array([class_weights.get(name, 1.0) for name in dataset.class_names])
    weights = each[split.labels] * (1 if split.weights is None else split.weights)
    if not weights.any():
        raise ValueError(f"`class_weights` must be above 0 for a class with images. Received: {class_weights}.")
    return split.weighted(weights)
