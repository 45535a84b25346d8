"""Keras layers that compute the same on TensorFlow, JAX and PyTorch."""

from kzoo.layers.add import Add
from kzoo.layers.conv import Conv2D, Conv2DReLU
from kzoo.layers.dropout import Dropout
from kzoo.layers.norm import BatchNorm
from kzoo.layers.pixels import PixelNormalization
from kzoo.layers.relu import ReLU
from kzoo.layers.scale import ScaleShift
from kzoo.layers.shortcut import ZeroPadShortcut

__all__ = [
    "Add",
    "BatchNorm",
    "Conv2D",
    "Conv2DReLU",
    "Dropout",
    "PixelNormalization",
    "ReLU",
    "ScaleShift",
    "ZeroPadShortcut",
]
