"""kzoo: the CIFAR ResNets for Keras 3, the same on TensorFlow, JAX and PyTorch."""

from kzoo.environment import check_backend

check_backend()

from kzoo.acceleration import process

if process.is_asked_for():
    process.tune()

from kzoo.acceleration.registry import acceleration_report
from kzoo.blocks import residual_block, residual_stage
from kzoo.data import Augmentation, Batches, Dataset, Split, load_dataset, prepare_dataset
from kzoo.evaluation import Evaluation, evaluate
from kzoo.experiment import evaluate_saved, train
from kzoo.export import Exported, export_model, export_saved, fold_batch_norm
from kzoo.initializers import HeNormal
from kzoo.layers import (
    Add,
    BatchNorm,
    Conv2D,
    Conv2DReLU,
    Dropout,
    PixelNormalization,
    ReLU,
    ScaleShift,
    ZeroPadShortcut,
)
from kzoo.models import (
    Description,
    Model,
    create_model,
    describe,
    fetch_weights,
    import_checkpoint,
    list_models,
    resnet,
    wide_resnet,
)
from kzoo.models.named import *  # noqa: F403
from kzoo.ops import deterministic, precision, set_precision
from kzoo.serving import serve
from kzoo.training import SGD, Prediction, Recipe, Run, StepSchedule, fit, predict_files, recipe, set_pixel_statistics
from kzoo.weights import (
    WeightsEntry,
    add_weights,
    cached_weights,
    decode_predictions,
    list_weights,
    load_torch_checkpoint,
    load_weights,
    save_weights,
    weights_info,
)

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Add",
    "Augmentation",
    "BatchNorm",
    "Batches",
    "Conv2D",
    "Conv2DReLU",
    "Dataset",
    "Description",
    "Dropout",
    "Evaluation",
    "Exported",
    "HeNormal",
    "Model",
    "PixelNormalization",
    "Prediction",
    "ReLU",
    "Recipe",
    "Run",
    "ScaleShift",
    "Split",
    "StepSchedule",
    "WeightsEntry",
    "ZeroPadShortcut",
    "acceleration_report",
    "add_weights",
    "cached_weights",
    "create_model",
    "decode_predictions",
    "describe",
    "deterministic",
    "evaluate",
    "evaluate_saved",
    "export_model",
    "export_saved",
    "fetch_weights",
    "fit",
    "fold_batch_norm",
    "import_checkpoint",
    "list_models",
    "list_weights",
    "load_dataset",
    "load_torch_checkpoint",
    "load_weights",
    "precision",
    "predict_files",
    "prepare_dataset",
    "recipe",
    "residual_block",
    "residual_stage",
    "resnet",
    "save_weights",
    "serve",
    "set_pixel_statistics",
    "set_precision",
    "train",
    "weights_info",
    "wide_resnet",
    *list_models(),
]
