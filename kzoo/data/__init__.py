"""Datasets, augmentation and batches.

A server needs none of Keras, which batches do: each name comes with its first use.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily

if TYPE_CHECKING:
    from kzoo.data.augment import Augmentation
    from kzoo.data.batches import Batches
    from kzoo.data.dataset import Dataset, carve_validation
    from kzoo.data.images import Decoding, decode_image
    from kzoo.data.mixing import Mixing
    from kzoo.data.prepare import prepare_dataset
    from kzoo.data.sources import load_dataset
    from kzoo.data.split import Split
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "augment": ["Augmentation"],
            "batches": ["Batches"],
            "dataset": ["Dataset", "carve_validation"],
            "images": ["Decoding", "decode_image"],
            "mixing": ["Mixing"],
            "prepare": ["prepare_dataset"],
            "sources": ["load_dataset"],
            "split": ["Split"],
        },
    )

__all__ = [
    "Augmentation",
    "Batches",
    "Dataset",
    "Decoding",
    "Mixing",
    "Split",
    "carve_validation",
    "decode_image",
    "load_dataset",
    "prepare_dataset",
]
