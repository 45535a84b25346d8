"""The bench of a study: its data, and its networks."""

import collections
from typing import Any

import numpy as np

from kzoo.arguments import instance
from kzoo.data import Dataset, Split
from kzoo.streams import stream
from kzoo.studies.network import Network

_KEPT = 8  # networks
_DEFAULTS = {"order": "classic", "shortcut": "pad", "normalization": "batch", "dropout": 0.0}


class Bench:
    """What cells are measured with.

    Args:
        dataset: The `Dataset`.
        smoke: Boolean, whether everything is to be short. Defaults to `False`.
    """

    def __init__(self, dataset: Dataset, smoke: bool = False) -> None:
        instance(dataset, "dataset", Dataset, "a kzoo.Dataset, such as `kzoo.load_dataset` returns")
        self.dataset, self.smoke = dataset, smoke
        self._networks = collections.OrderedDict[str, Network]()

    def network(self, **form: Any) -> Network:
        """Returns a network of some form, compiled before if it was needed before; `start` gives it its weights."""
        form = {name: value for name, value in form.items() if _DEFAULTS.get(name, form) != value}
        key = repr(sorted(form.items()))
        if key not in self._networks:
            self._networks[key] = Network(self.dataset, **form)
        self._networks.move_to_end(key)
        while len(self._networks) > _KEPT:
            self._networks.popitem(last=False)
        return self._networks[key]

    def training(self, images: int, *, random_labels: bool = False, seed: int = 0) -> Split:
        """Returns some training images, the same for each seed, or fewer where there are not so many.

        Args:
            images: Integer, how many.
            random_labels: Boolean, whether the labels are drawn at random, from the seed. Defaults to `False`.
            seed: Integer. Defaults to `0`.
        """
        taken = some(self.dataset.train, images, "training")
        if not random_labels:
            return taken
        labels = stream(seed, "study", "labels").randint(0, self.dataset.classes, len(taken))
        return Split(taken.images, labels)

    def validation(self, images: int = 1000) -> Split:
        """Returns some validation images, the same for each seed, or fewer where there are not so many."""
        return some(self.dataset.validation, images, "validation")


def some(split: Split, images: int, what: str) -> Split:
    """Returns some images of a split in their order, drawn from a fixed seed: of fewer, all are in those of more."""
    if images >= len(split):
        return split
    order = stream(0, "study", what).permutation(len(split))
    return split.take(np.sort(order[:images]))
