"""kzoo: the CIFAR ResNets for Keras 3, the same on TensorFlow, JAX and PyTorch."""

from kzoo.backend import check_backend

check_backend()

from kzoo.blocks import residual_block, residual_stage
from kzoo.data import Augmentation, Batches, Dataset, Split, load_dataset, prepare_dataset
from kzoo.evaluation import Evaluation, evaluate
from kzoo.experiment import evaluate_saved, train
from kzoo.export import Exported, export, export_saved, fold_batch_norm
from kzoo.initializers import HeNormal
from kzoo.layers import BatchNorm, Conv2D, Dropout, PixelNormalization, ScaleShift, ZeroPadShortcut
from kzoo.models import (
    Description,
    create_model,
    describe,
    list_models,
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    resnet,
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
    wide_resnet,
    wide_resnet16_4,
    wide_resnet28_10,
)
from kzoo.ops import deterministic, set_precision
from kzoo.training import SGD, Prediction, Recipe, Run, StepSchedule, fit, predict_files, recipe, set_pixel_statistics
from kzoo.weights import load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Augmentation",
    "BatchNorm",
    "Batches",
    "Conv2D",
    "Dataset",
    "Description",
    "Dropout",
    "Evaluation",
    "Exported",
    "HeNormal",
    "PixelNormalization",
    "Prediction",
    "Recipe",
    "Run",
    "ScaleShift",
    "Split",
    "StepSchedule",
    "ZeroPadShortcut",
    "create_model",
    "describe",
    "deterministic",
    "evaluate",
    "evaluate_saved",
    "export",
    "export_saved",
    "fit",
    "fold_batch_norm",
    "list_models",
    "load_dataset",
    "load_weights",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "predict_files",
    "prepare_dataset",
    "recipe",
    "residual_block",
    "residual_stage",
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
    "save_weights",
    "set_pixel_statistics",
    "set_precision",
    "train",
    "wide_resnet",
    "wide_resnet16_4",
    "wide_resnet28_10",
]
