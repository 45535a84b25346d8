"""Constructors that return a plain functional `keras.Model`."""

from kzoo.models.description import Description, describe
from kzoo.models.named import (
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    resnet20,
    resnet20_v2,
    resnet32,
    resnet32_v2,
    resnet44,
    resnet44_v2,
    resnet56,
    resnet56_v2,
    resnet110,
    resnet110_v2,
    resnet1202,
    resnet1202_v2,
    wide_resnet16_4,
    wide_resnet28_10,
)
from kzoo.models.pretrained import fetch_weights, import_checkpoint
from kzoo.models.registry import create_model, list_models
from kzoo.models.resnet import resnet, wide_resnet

__all__ = [
    "Description",
    "create_model",
    "describe",
    "fetch_weights",
    "import_checkpoint",
    "list_models",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "resnet",
    "resnet20",
    "resnet20_v2",
    "resnet32",
    "resnet32_v2",
    "resnet44",
    "resnet44_v2",
    "resnet56",
    "resnet56_v2",
    "resnet110",
    "resnet110_v2",
    "resnet1202",
    "resnet1202_v2",
    "wide_resnet",
    "wide_resnet16_4",
    "wide_resnet28_10",
]
