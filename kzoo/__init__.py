"""kzoo: the CIFAR ResNets for Keras 3, the same on TensorFlow, JAX and PyTorch.

A script's `import kzoo` brings all of it, so that its classes are in Keras's register when `keras.saving.load_model`
looks for them. The `kzoo` program must start fast, and without a backend: there all comes with the first name used.
"""

import itertools
from typing import TYPE_CHECKING

from kzoo import startup
from kzoo.acceleration import process
from kzoo.lazy import lazily
from kzoo.models.named import *  # noqa: F403
from kzoo.models.registry import create_model, list_models

if startup.is_kzoo_program():
    startup.take_only_backend()
    startup.hide_banner_of_tensorflow()
if startup.may_start_without_keras():
    startup.check_backend_before_keras()
else:
    startup.check_backend()

# Before anything imports Keras, and with it the backend.
if process.is_asked_for():
    process.tune()

if TYPE_CHECKING:
    from kzoo.acceleration.registry import acceleration_report
    from kzoo.blocks import residual_block, residual_stage
    from kzoo.data import Augmentation, Batches, Dataset, Decoding, Mixing, Split, load_dataset, prepare_dataset
    from kzoo.evaluation import Evaluation, evaluate
    from kzoo.experiment import evaluate_saved, train
    from kzoo.export import Exported, export_model, export_saved
    from kzoo.folding import fold_batch_norm
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
        Preset,
        describe,
        fetch_preset,
        import_checkpoint,
        load_preset,
        resnet,
        wide_resnet,
    )
    from kzoo.ops import deterministic, precision, set_precision
    from kzoo.presets import (
        PresetInfo,
        add_preset,
        cached_preset,
        decode_predictions,
        list_presets,
        load_torch_checkpoint,
        load_weights,
        preset_info,
        push_preset,
        save_preset,
        save_torch_checkpoint,
        save_weights,
    )
    from kzoo.serving import serve
    from kzoo.sweeps import Sweep, sweep
    from kzoo.training import (
        SGD,
        Prediction,
        Recipe,
        Run,
        StepSchedule,
        fit,
        list_recipes,
        predict_files,
        recipe,
        set_pixel_statistics,
    )
    from kzoo.workers import join_workers
else:
    _NAMES = {
        "acceleration.registry": ["acceleration_report"],
        "blocks": ["residual_block", "residual_stage"],
        "data": [
            "Augmentation",
            "Batches",
            "Dataset",
            "Decoding",
            "Mixing",
            "Split",
            "load_dataset",
            "prepare_dataset",
        ],
        "evaluation": ["Evaluation", "evaluate"],
        "experiment": ["evaluate_saved", "train"],
        "export": ["Exported", "export_model", "export_saved"],
        "folding": ["fold_batch_norm"],
        "initializers": ["HeNormal"],
        "layers": [
            "Add",
            "BatchNorm",
            "Conv2D",
            "Conv2DReLU",
            "Dropout",
            "PixelNormalization",
            "ReLU",
            "ScaleShift",
            "ZeroPadShortcut",
        ],
        "models": [
            "Description",
            "Model",
            "Preset",
            "describe",
            "fetch_preset",
            "import_checkpoint",
            "load_preset",
            "resnet",
            "wide_resnet",
        ],
        "ops": ["deterministic", "precision", "set_precision"],
        "presets": [
            "PresetInfo",
            "add_preset",
            "cached_preset",
            "decode_predictions",
            "list_presets",
            "load_torch_checkpoint",
            "load_weights",
            "preset_info",
            "push_preset",
            "save_preset",
            "save_torch_checkpoint",
            "save_weights",
        ],
        "serving": ["serve"],
        "sweeps": ["Sweep", "sweep"],
        "training": [
            "SGD",
            "Prediction",
            "Recipe",
            "Run",
            "StepSchedule",
            "fit",
            "list_recipes",
            "predict_files",
            "recipe",
            "set_pixel_statistics",
        ],
        "workers": ["join_workers"],
    }
    _get, __dir__ = lazily(__name__, _NAMES)

    def _import_everything():
        for name in itertools.chain.from_iterable(_NAMES.values()):
            _get(name)

    def __getattr__(name):
        value = _get(name)
        _import_everything()
        return value

    if not startup.may_start_without_keras():
        _import_everything()

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
    "Decoding",
    "Description",
    "Dropout",
    "Evaluation",
    "Exported",
    "HeNormal",
    "Mixing",
    "Model",
    "PixelNormalization",
    "Prediction",
    "Preset",
    "PresetInfo",
    "ReLU",
    "Recipe",
    "Run",
    "ScaleShift",
    "Split",
    "StepSchedule",
    "Sweep",
    "ZeroPadShortcut",
    "acceleration_report",
    "add_preset",
    "cached_preset",
    "create_model",
    "decode_predictions",
    "describe",
    "deterministic",
    "evaluate",
    "evaluate_saved",
    "export_model",
    "export_saved",
    "fetch_preset",
    "fit",
    "fold_batch_norm",
    "import_checkpoint",
    "join_workers",
    "list_models",
    "list_presets",
    "list_recipes",
    "load_dataset",
    "load_preset",
    "load_torch_checkpoint",
    "load_weights",
    "precision",
    "predict_files",
    "prepare_dataset",
    "preset_info",
    "push_preset",
    "recipe",
    "residual_block",
    "residual_stage",
    "resnet",
    "save_preset",
    "save_torch_checkpoint",
    "save_weights",
    "serve",
    "set_pixel_statistics",
    "set_precision",
    "sweep",
    "train",
    "wide_resnet",
    *list_models(),
]
