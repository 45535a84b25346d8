"""A small model with each kind of layer, and how kzoo's layers and models run by their definitions."""

import contextlib

import keras
import pytest

import kzoo
import kzoo.ops
from kzoo.acceleration.quick import QuickLayer
from kzoo.ops import generic


@contextlib.contextmanager
def by_definition():
    """Lets every operation be its definition meanwhile, every layer be called by Keras, and every model walk by it."""
    backend = keras.backend.backend()
    with pytest.MonkeyPatch.context() as patch:
        for name in kzoo.ops.FASTER_FORMS[backend]:
            patch.setattr(kzoo.ops, name, getattr(generic, name))
        patch.setattr(QuickLayer, "is_as_defined", lambda self: False)
        if backend == "torch":
            from kzoo.acceleration import torch_walk

            patch.setattr(torch_walk.ACCELERATION, "_why_off", "compared")
        yield


def small_model(model_class=kzoo.Model, dropout=0.0):
    """Returns a residual network of a block, for images of 8 pixels a side."""
    images = keras.Input((8, 8, 3), name="images")
    x = kzoo.PixelNormalization(name="pixels")(images)
    x = kzoo.ReLU()(kzoo.BatchNorm()(kzoo.Conv2D(4)(x)))
    y = kzoo.ReLU()(kzoo.BatchNorm()(kzoo.Conv2D(6, stride=2)(x)))
    y = kzoo.BatchNorm()(kzoo.Conv2D(6)(kzoo.Dropout(dropout, name="dropout")(y)))
    y = kzoo.ReLU()(kzoo.Add()([kzoo.ZeroPadShortcut(6)(x), y]))
    y = keras.layers.Dense(5, name="logits")(keras.layers.GlobalAveragePooling2D()(y))
    return model_class(images, y)
