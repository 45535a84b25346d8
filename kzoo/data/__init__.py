"""Datasets, augmentation and batches."""

from kzoo.data.augment import Augmentation
from kzoo.data.batches import Batches
from kzoo.data.dataset import Dataset, carve_validation
from kzoo.data.images import Decoding, decode_image
from kzoo.data.mixing import Mixing
from kzoo.data.prepare import prepare as prepare_dataset
from kzoo.data.sources import load_dataset
from kzoo.data.split import Split

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
