"""Constructors that return a plain functional `keras.Model`."""

from kzoo.models.description import Description, describe
from kzoo.models.model import Model
from kzoo.models.named import *  # noqa: F403
from kzoo.models.pretrained import fetch_weights, import_checkpoint
from kzoo.models.registry import create_model, list_models
from kzoo.models.residual import resnet, wide_resnet

__all__ = [
    "Description",
    "Model",
    "create_model",
    "describe",
    "fetch_weights",
    "import_checkpoint",
    "list_models",
    "resnet",
    "wide_resnet",
    *list_models(),
]
