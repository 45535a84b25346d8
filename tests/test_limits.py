"""Every argument at its limits and beyond: what is wrong is told with what was expected and what came.

A row of the table is a public function: a call that succeeds, and for each argument what it takes and what it refuses.
"""

import contextlib
import functools
import inspect
import math
import re
import typing
from pathlib import Path

import keras
import numpy as np
import pytest
from commands import kzoo_command

import kzoo
from kzoo.cli.app import app
from kzoo.data.digits import read_digits
from kzoo.models.arguments import Arguments

NAN, INF = math.nan, math.inf
LONG = "é" * 300


class Takes:
    """What an argument takes, of which each is tried, and what it refuses."""

    def __init__(self, *taken, refused=()):
        self.taken, self.refused = taken, tuple(refused)

    def __or__(self, other):
        both = (*self.refused, *other.refused)
        taken = (*self.taken, *other.taken)
        return Takes(*taken, refused=[one for one in both if not any(one is other for other in taken)])


def integer(least=None, most=None, *, none=False):
    """An integer of Python or NumPy."""
    refused = [True, 1.5, "3", NAN, INF, [3], *([] if none else [None])]
    refused += [] if least is None else [least - 1, -(2**63)]
    refused += [] if most is None else [most + 1, 2**100]
    taken = [np.int16(5 if least is None else least), *([None] if none else [])]
    return Takes(*taken, *([most] if most is not None and most < 2**20 else []), refused=refused)


def number(*taken, refused=(), none=False):
    """A finite number of Python or NumPy."""
    return Takes(
        *taken,
        *([None] if none else []),
        refused=[True, "0.1", NAN, INF, -INF, [0.1], *([] if none else [None]), *refused],
    )


def choice(*taken, none=False):
    """One of a few names."""
    return Takes(
        *taken, *([None] if none else []), refused=["", "nothing", LONG, 3, True, *([] if none else [None]), ["a"]]
    )


BOOLEAN = Takes(True, False, np.bool_(True), refused=[None, 0, 1, "yes", "", NAN])
BOOLEAN_OR_NONE = Takes(True, None, refused=[0, 1, "yes", "", NAN])
SEED = integer(0, 2**64 - 1)


def path(*taken, refused=("", "none", LONG, "a\0b", 3, True, 1.5, None, ["a"])):
    """A path; those refused do not exist, cannot, or are none."""
    return Takes(*taken, refused=refused)


DEVICES = ["", "all", "1", 0, -1, True, 1.5, NAN, INF, 2**63, [1]]
SOURCE = path(refused=("", "none", LONG, "a\0b", "hf://a", "hf://a/../b", 3, True, 1.5, None, ["a"]))
OBJECTS = Takes(refused=[3, "a", True, ["a"]])
NEW_PATH = path(refused=("", "a\0b", 3, True, 1.5, ["a"]))
FOLDER = path(refused=("a\0b", 3, True, 1.5, ["a"]))


def images(count=4, size=8):
    return np.zeros((count, size, size, 3), np.uint8)


def split():
    return kzoo.Split(images(), [0, 1, 0, 1])


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """What calls need and takes long to make."""
    digits = kzoo.load_dataset("digits", image_size=(8, 8))
    model = kzoo.resnet(8, input_shape=(8, 8, 3))
    directory = tmp_path_factory.mktemp("run")
    (directory / "config.json").write_text("{}")
    return {"digits": digits, "model": model, "tensor": keras.Input((8, 8, 4)), "run": kzoo.Run(directory)}


MODEL_ARGUMENTS = {
    "weights": path(None, refused=("", "none", "a\0b", 3, True, 1.5, ["a"])),
    "include_top": BOOLEAN,
    "input_shape": Takes(
        (8, 8, 1),
        (None, None, 3),
        np.array([8, 8, 4]),
        refused=[None, (), (8, 8), (0, 8, 3), (-1, 8, 3), "888", 8, (8.0, 8, 3), (NAN, 8, 3), (True, 8, 3)],
    ),
    "pooling": choice("avg", "max", none=True),
    "classes": integer(1),
    "classifier_activation": Takes("softmax", None, refused=["nothing", "", 3, True, LONG]),
    "include_preprocessing": BOOLEAN,
    "order": choice("classic", "preact", "additive"),
    "shortcut": Takes("pad", "projection", "none", None, refused=["", "nothing", 3, True]),
    "normalization": choice("batch", none=True),
    "dropout": number(0, 0.999, np.float32(0.5), refused=[1, -0.001, 2**63]),
    "zero_init_residual": BOOLEAN,
    "seed": SEED,
    "name": Takes("a", refused=["", None, 3, True]),
}
DECODING = {
    "image_size": Takes(
        1,
        (5, 6),
        np.int64(4),
        [3, 3],
        None,
        refused=["", "88", 0, -1, (0, 1), (1,), (1, 2, 3), 1.5, NAN, True, (2**31, 2**31), ()],
    ),
    "resize": choice("stretch", "crop", "pad"),
    "channels": Takes(1, 3, np.int8(4), refused=[0, 2, 5, -1, None, True, "3", 3.0, NAN, 2**63]),
    "background": integer(0, 255),
}

SHARE = number(0, 1, np.float32(0.5), refused=[-0.1, 1.1])
ALPHA = number(0, 0.2, 100, refused=[-0.1, 101])
SCALES = Takes((), [0.5, 1], np.array([0.75]), refused=[None, 0.5, "ab", (0,), (1.1,), (NAN,), ("a",)])
ERASING = {
    "flip_mode": choice("random", "alternate"),
    "erase": SHARE,
    "erase_area": Takes(
        (0.5, 1),
        [0.1, 0.1],
        np.array([0.1, 0.2]),
        refused=[None, 0.5, "ab", (), (0.5,), (0, 0.5), (0.5, 0.4), (0.5, 1.1), (NAN, 1), ("a", "b"), (0.1, 0.2, 0.3)],
    ),
    "erase_aspect": number(0.001, 1, refused=[0, -1, 1.1]),
    "erase_fill": choice("noise", "grey"),
}

TABLE = {
    "Augmentation": (
        {},
        {"crop_padding": integer(0), "flip": BOOLEAN, "pad_mode": choice("constant", "reflect"), **ERASING},
    ),
    "BatchNorm": (
        {},
        {
            "momentum": number(0, 1, np.float32(0.5), refused=[-0.1, 1.1]),
            "epsilon": number(1e-12, 1, np.float64(0.5), refused=[0, -1]),
            "gamma_initializer": Takes("zeros", None),
        },
    ),
    "Batches": (
        {"split": lambda things: split(), "classes": 2},
        {
            "split": Takes(refused=[None, 3, "train", []]),
            "classes": integer(2),
            "batch_size": integer(1),
            "drop_remainder": BOOLEAN,
            "seed": SEED,
            "shuffle": BOOLEAN,
            "augmentation": Takes(None, kzoo.Augmentation(), refused=[3, True, "flip", {"flip": True}]),
            "scales": SCALES,
            "mixing": Takes(None, kzoo.Mixing(), refused=[3, True, "mixup", {"mixup": 1}]),
        },
    ),
    "Conv2D": (
        {"filters": 2},
        {
            "filters": integer(1),
            "kernel_size": Takes(1, np.int8(3), refused=[0, -1, 2, True, None, 3.0, "3", NAN, (3, 3)]),
            "stride": integer(1),
            "use_bias": BOOLEAN,
            "kernel_initializer": Takes(
                "zeros",
                None,
            ),
        },
    ),
    "Dataset": (
        {"name": "a", "class_names": ("a", "b"), "train": lambda _: split(), "validation": lambda _: split()}
        | {"test": lambda _: split(), "flip": False},
        {
            "name": Takes("a", "ä b", refused=[None, 3, True]),
            "class_names": Takes(
                ("a", "ö"), ["a", "b", "c"], refused=[(), None, 3, "ab", ("a",), ("a", "a"), ("a", 3)]
            ),
            "train": Takes(refused=[None, 3, images()]),
            "validation": Takes(refused=[None, 3, images()]),
            "test": Takes(refused=[None, 3, images()]),
            "flip": BOOLEAN,
            "source": Takes(None, {}, refused=[3, "a", True]),
        },
    ),
    "Decoding": ({}, DECODING),
    "Dropout": (
        {"rate": 0.1},
        {"rate": number(0, 0.999, np.float32(0.5), refused=[1, -0.1]), "seed": integer(0)},
    ),
    "HeNormal": ({"seed": 0, "path": "a"}, {"seed": integer(0), "path": Takes("a", "ö", refused=[None, 3, True, ""])}),
    "Mixing": ({}, {"mixup": ALPHA, "cutmix": ALPHA, "share": SHARE}),
    "PixelNormalization": (
        {},
        {
            "mean": Takes(
                [0, 0.5, 1],
                np.zeros(3),
                refused=[None, 3, "abc", [], [0.1], ["a", "b", "c"], [NAN, 0, 0], [INF, 0, 0], [0, 0, None]],
            ),
            "std": Takes(
                [1, 1, 1],
                np.ones(3),
                refused=[None, 3, "abc", [], [0.1], [0, 1, 1], [-1, 1, 1], [NAN, 1, 1], [INF, 1, 1]],
            ),
        },
    ),
    "Recipe": (
        {},
        {
            "epochs": integer(1, 100_000),
            "batch_size": integer(1),
            "drop_remainder": BOOLEAN,
            "learning_rate": number(1e-9, np.float32(1), refused=[0, -1]),
            "momentum": number(0.001, 0.999, refused=[1, -0.1]),
            "nesterov": BOOLEAN,
            "weight_decay": number(0, 1, refused=[-1]),
            "decay_on": choice("kernels", "all"),
            "schedule": choice("linear", "cosine", "step", "constant"),
            "warmup": number(0, 0.999, refused=[1, -0.1]),
            "warmup_start": number(0, 1, refused=[1.1, -0.1]),
            "milestones": Takes(
                (), (0.5,), [0.1, 0.2], refused=[None, 0.5, "0.5", (0,), (1,), (0.5, 0.2), (NAN,), ("a",)]
            ),
            "gamma": number(0, 2, refused=[-1]),
            "label_smoothing": number(0, 0.999, refused=[1, -0.1]),
            "crop_padding": integer(0),
            "pad_mode": choice("constant", "reflect"),
            "flip": BOOLEAN,
            "pixel_statistics": choice("dataset", "imagenet"),
            "patience": integer(1, none=True),
            "min_delta": number(0, 1, refused=[-1]),
            "precision": choice("float32", "mixed_bfloat16", "float64"),
            "optimizer": choice("sgd", "adamw"),
            "optimizer_arguments": Takes({}, refused=[None, 3, "a", ["a"], {3: 1}, {"a": None}, {"a": {}}, {"b": 1}]),
            "clip_norm": number(0.1, none=True, refused=[0, -1]),
            "global_clip_norm": number(0.1, none=True, refused=[0, -1]),
            "clip_value": number(0.1, none=True, refused=[0, -1]),
            "accumulate_steps": integer(1),
            "bias_rate": number(0.1, 64, refused=[0, -1]),
            "class_weights": Takes(
                None, "balanced", {"a": 2}, {"a": 0}, refused=["", "even", 3, {}, ["a"], {3: 1}, {"a": -1}, {"a": NAN}]
            ),
            **ERASING,
            "mixup": ALPHA,
            "cutmix": ALPHA,
            "mix_share": SHARE,
            "image_scales": SCALES,
            "ema": number(0, 0.999, refused=[1, -0.1]),
            "zero_init_residual": BOOLEAN,
            "distillation_weight": number(0, 1, np.float32(0.5), refused=[-0.1, 1.1]),
            "temperature": number(0.5, 20, refused=[0, -1]),
            "lookahead_steps": integer(0),
            "lookahead_share": number(0.1, 1, refused=[0, 1.1]),
        },
    ),
    "Run": ({}, {"directory": path()}),
    "SGD": (
        {},
        {
            "learning_rate": number(1e-9, 1, np.float32(0.5), refused=[-1]),
            "momentum": number(0, 0.999, refused=[1, -0.1]),
            "nesterov": BOOLEAN,
            "weight_decay": number(0, 1, none=True, refused=[-1]),
            "decay_on": choice("kernels", "all"),
            "bias_rate": number(0.1, 64, refused=[0, -1]),
            "name": Takes("a", refused=[3, True]),
        },
    ),
    "Split": (
        {"images": images(), "labels": [0, 1, 0, 1]},
        {
            "images": Takes(
                refused=[
                    None,
                    3,
                    "a",
                    [],
                    images(0),
                    images().astype("float32"),
                    images()[0],
                    images(3),
                    images(4, 0),
                    [[1], [1, 2]],
                ]
            ),
            "labels": Takes(
                [[0], [1], [0], [2**31]],
                np.arange(4, dtype=np.uint8),
                refused=[
                    None,
                    3,
                    "abcd",
                    [0, 1],
                    [0.0] * 4,
                    [-1, 0, 0, 0],
                    ["a"] * 4,
                    [NAN] * 4,
                    [True] * 4,
                    np.eye(4),
                    [2**64] * 4,
                ],
            ),
            "weights": Takes(
                None, [0, 0.5, 1, 2], refused=[3, "abcd", [1, 1], [-1, 0, 0, 0], [NAN] * 4, [INF] * 4, ["a"] * 4]
            ),
        },
    ),
    "StepSchedule": (
        {"learning_rate": 0.1, "total_steps": 10, "schedule": "step"},
        {
            "learning_rate": number(1e-9, np.float32(1), refused=[0, -1]),
            "total_steps": integer(1, 20_000_000),
            "schedule": choice("linear", "cosine", "step", "constant"),
            "warmup_steps": integer(0),
            "warmup_start": number(0, 1, refused=[-0.1, 1.1]),
            "milestones": Takes((), [1, np.int8(2)], refused=[None, 3, "12", (1.5,), (-1,), (2, 1), (NAN,)]),
            "gamma": number(0, 2, refused=[-1]),
            "accumulate_steps": integer(1),
        },
    ),
    "Sweep": ({}, {"directory": path()}),
    "ZeroPadShortcut": ({"filters": 2}, {"filters": integer(1), "stride": integer(1)}),
    "Preset": ({}, {"source": SOURCE}),
    "add_preset": ({}, {"path": path(refused=("", "none", LONG, "a\0b", ".", 3, True, None, ["a"]))}),
    "cached_preset": ({}, {"name": choice("akamaster_resnet20")}),
    "create_model": ({}, {"name": choice()}),
    "decode_predictions": (
        {"predictions": np.zeros((1, 3)), "class_names": list("abc")},
        {
            "predictions": Takes(
                [[1, 2, 3]],
                refused=[
                    None,
                    3,
                    "a",
                    [],
                    [1, 2, 3],
                    np.zeros((1, 0)),
                    [[NAN, 1, 2]],
                    [[INF, 1, 2]],
                    [["a", "b", "c"]],
                ],
            ),
            "top": integer(1),
            "class_names": Takes(("a", "ö", "c"), refused=[None, 3, "", "nothing", ["a"], list("abcd"), [1, 2, 3], []]),
            "from_logits": BOOLEAN_OR_NONE,
        },
    ),
    "describe": ({}, {"model": Takes(refused=["", "nothing", LONG, None, 3, True])}),
    "evaluate": (
        {"model": lambda things: things["model"], "images": images(), "labels": [0, 1, 0, 1]},
        {
            "model": Takes(refused=[None, 3, "resnet20"]),
            "images": Takes(refused=[None, 3, "a", [], images(0), images(3), images(4, 9), ["a"]]),
            "labels": Takes(refused=[None, 3, [0, 1], [-1, 0, 0, 0], [10, 0, 0, 0], [0.5] * 4]),
            "class_names": Takes(None, list("abcdefghij"), refused=["", 3, "abc", ["a"], [1] * 10]),
            "batch_size": integer(1),
            "from_logits": BOOLEAN_OR_NONE,
            "tta": choice("mirror", none=True),
        },
    ),
    "evaluate_saved": (
        {},
        {
            "run": path(refused=("", "none", LONG, "a\0b", ".", 3, True, None)),
            "model": choice(),
            "weights": path(refused=("", "none", 3, True, None)),
            "preset": SOURCE,
            "dataset": Takes(refused=[3, "digits", True]),
            "split": choice(),
            "tta": choice(),
            "custom_objects": OBJECTS,
        },
    ),
    "export_model": (
        {"model": lambda things: things["model"], "out": "out", "python": "/bin/false"},
        {
            "model": Takes(refused=[None, 3, "resnet20"]),
            "out": path(refused=("a\0b", 3, True, None, ["a"])),
            "format": choice("onnx", ["onnx", "litert"], ("openvino",)),
            "name": Takes(refused=["", "a/b", "..", 3, True, "ö"]),
            "version": integer(1),
            "class_names": Takes(refused=["", 3, "abc", ["a"], [1] * 10, ["a"] * 10]),
            "images": Takes(refused=[3, "a", [], images(6), images(7, 9), images(7).astype("float32")]),
            "fold": BOOLEAN,
            "python": path(refused=("", "none", LONG, ".", 3, True)),
            "card": Takes(refused=[3, "a", True, [1], {"a": object()}]),
            "from_logits": BOOLEAN_OR_NONE,
            "decoding": Takes(refused=[3, "a", kzoo.Decoding((9, 9))]),
            "labels": Takes(None, refused=[3, "a", [0], [0.5] * 7, [11] * 7, [-1] * 7]),
            "quantize": choice(none=True),
            "calibration": Takes(None),
            "validation": Takes(None),
            "max_drop": Takes(0.5),
        },
    ),
    "export_saved": (
        {"out": "out", "source": "none"},
        {
            "source": path(),
            "out": path(refused=("a\0b", 3, True, None, ["a"])),
            "model": choice(),
            "dataset": Takes(refused=[3, "digits", True]),
            "custom_objects": OBJECTS,
            "quantize": Takes(),
            "calibrate": Takes(),
            "max_drop": Takes(),
        },
    ),
    "fetch_preset": ({}, {"source": SOURCE}),
    "fit": (
        {"model": lambda things: things["model"], "dataset": lambda things: things["digits"]},
        {
            "model": Takes(refused=[None, 3, "resnet20"]),
            "dataset": Takes(refused=[None, 3, "digits"]),
            "recipe": Takes("default", kzoo.Recipe(), refused=["", "nothing", None, 3, True, {}]),
            "callbacks": Takes((), None, keras.callbacks.Callback(), refused=[3, "a", True, [3]]),
            "seed": SEED,
            "run_dir": Takes(None, "new", refused=["", "a\0b", 3, True, 1.5, ["a"]]),
            "verbose": Takes("auto", 0, 1, 2, refused=[3, -1, "", "loud", None, NAN]),
            "arguments": Takes(None, {}, refused=[3, "a", True, ["a"]]),
            "from_logits": Takes(True, None, refused=[0, 1, "yes", "", NAN, False]),
            "resume": Takes(False, refused=[True, None, 0, 1, "yes", "", NAN]),
            "checkpoint_every": Takes(
                "60s",
                "0.5s",
                1,
                np.int64(3),
                refused=["", "0s", 0, -1, None, True, 1.5, NAN, INF, 2**63, "60 s", "nans"],
            ),
            "teacher": Takes(None, refused=["none", "", "a\0b", 3, True]),
            "devices": Takes(None, 1, "auto", refused=DEVICES),
            "optimizer": Takes(None, refused=["adam", 3, True, keras.optimizers.Adam]),
            "schedule": Takes(None, refused=["cosine", 3, 0.1, True, lambda step: 0.1]),
            "loss": Takes(None, refused=["mse", 3, True, ["mse"]]),
        },
    ),
    "fold_batch_norm": ({}, {"model": Takes(refused=[None, 3, "resnet20"])}),
    "import_checkpoint": (
        {"checkpoint": "none", "out": "a.weights.h5", "model": "resnet20", "layout": "akamaster"},
        {
            "checkpoint": path(),
            "out": path(refused=("", "a", "a\0b.weights.h5", 3, True, None)),
            "model": choice(),
            "layout": choice(),
        },
    ),
    "load_dataset": (
        {},
        {
            "name_or_path": path("digits", refused=("", "none", LONG, "a\0b", "/dev/null", 3, True, None, ["a"])),
            "data_dir": FOLDER,
            **DECODING,
            "skip_unreadable": BOOLEAN,
            "validation": number(0.1, 0.5, refused=[0, 1, -1, 2]),
            "test": number(0.1, 0.5, refused=[0, 1, -1, 2]),
            "split_seed": SEED,
            "flip": BOOLEAN_OR_NONE,
            "balance": BOOLEAN,
            "splits": Takes(None, refused=[3, "a", True, {}, {"train": 3}]),
            "cache": BOOLEAN,
        },
    ),
    "list_models": (
        {},
        {"pattern": Takes("*_v2", "none", refused=["", None, 3, True, ["a"]]), "pretrained": BOOLEAN},
    ),
    "list_presets": ({}, {}),
    "load_preset": ({}, {"source": SOURCE}),
    "load_torch_checkpoint": (
        {"model": lambda things: things["model"], "path": "none", "layout": "akamaster"},
        {"model": Takes(refused=[None, 3, "resnet20"]), "path": path(), "layout": choice()},
    ),
    "load_weights": (
        {"model": lambda things: things["model"], "path": "none"},
        {"model": Takes(refused=[None, 3, "resnet20"]), "path": path(), "optional": Takes(refused=[None, 3, "a", [3]])},
    ),
    "precision": ({}, {"name": choice("float32", "float64", "mixed_bfloat16")}),
    "predict_files": (
        {"run": lambda things: things["run"], "files": []},
        {
            "run": Takes(refused=[None, 3, "run"]),
            "files": path(refused=(None, 3, True, "none", [3], ".", "a\0b", [None])),
            "top": integer(1),
            "custom_objects": OBJECTS,
        },
    ),
    "prepare_dataset": (
        {"name": "pets", "source": "."},
        {
            "name": Takes(refused=["", "A", "a b", "ö", "digits", LONG, None, 3, True, "../a"]),
            "data_dir": FOLDER,
            "archive": path(refused=("none", "", 3, True, "a\0b")),
            "source": path(refused=("", "none", LONG, "a\0b", 3, True)),
            **{name: DECODING[name] for name in ("image_size", "resize", "channels")},
            "skip_unreadable": BOOLEAN,
            "progress": BOOLEAN,
        },
    ),
    "preset_info": ({}, {"name": choice("akamaster_resnet20")}),
    "push_preset": (
        {"folder": "none", "repository": "a/b"},
        {
            "folder": path(),
            "repository": Takes(refused=["", "a", "a/b/c", "../a", None, 3, True]),
            "private": Takes(refused=[None, 0, 1, "yes", ""]),
            "message": Takes(refused=["", 3, True]),
        },
    ),
    "recipe": (
        {},
        {"name": path("default", "fast", "akamaster", "he2015", refused=(*path().refused, "none.toml", "."))},
    ),
    "residual_block": (
        {"x": lambda things: things["tensor"], "filters": 4, "name": "block"},
        {
            "x": Takes(refused=[None, 3, "a", np.zeros((1, 2))]),
            "filters": Takes(np.int16(4), refused=integer(1).refused),
            "stride": integer(1),
            "order": MODEL_ARGUMENTS["order"],
            "shortcut": choice("pad", "projection", "none"),
            "normalization": MODEL_ARGUMENTS["normalization"],
            "dropout": MODEL_ARGUMENTS["dropout"],
            "zero_init_residual": BOOLEAN,
            "seed": SEED,
            "name": Takes("a", refused=["", None, 3, True, "a/b"]),
        },
    ),
    "residual_stage": (
        {"x": lambda things: things["tensor"], "filters": 4, "blocks": 1, "name": "stage"},
        {
            "x": Takes(refused=[None, 3, "a"]),
            "filters": Takes(np.int16(4), refused=integer(1).refused),
            "blocks": integer(1),
            "stride": integer(1),
            "name": Takes("a", refused=["", None, 3, True, "a/b"]),
        },
    ),
    "resnet": (
        {"depth": 8, "input_shape": (8, 8, 3)},
        {
            "depth": Takes(np.int8(8), refused=[0, -1, 2, 9, True, None, 8.0, "8", NAN, 2**63]),
            **MODEL_ARGUMENTS,
        },
    ),
    "save_preset": (
        {"model": lambda things: things["model"], "directory": "preset"},
        {
            "model": Takes(refused=[None, 3, "resnet20", keras.Sequential()]),
            "directory": path("other", refused=("", LONG, "a\0b", 3, True, None, "/dev/null")),
            "class_names": Takes(list("abcdefghij"), None, refused=["", 3, "abc", ["a"], [1] * 10, ["a"] * 10]),
            "decoding": Takes(None, kzoo.Decoding((8, 8)), refused=[3, "a", kzoo.Decoding((9, 9))]),
            "temperature": number(0.5, 1000, none=True, refused=[0, -1, 1001]),
            "about": Takes(None, {"a": [1]}, refused=[3, "a", True, [1], {"a": object()}, {"a": NAN}]),
            "construction": Takes(None, refused=[3, "resnet20", True]),
        },
    ),
    "save_torch_checkpoint": (
        {"model": lambda things: things["model"], "path": "made/saved.pt", "layout": "akamaster"},
        {"model": Takes(refused=[None, 3, "resnet20"]), "path": NEW_PATH, "layout": choice()},
    ),
    "save_weights": (
        {"model": lambda things: things["model"], "path": "a.weights.h5"},
        {
            "model": Takes(refused=[None, 3, "resnet20"]),
            "path": path(
                "b.weights.h5",
                refused=("", "a", "none/a.weights.h5", f"{LONG}.weights.h5", "a\0b.weights.h5", 3, True, None),
            ),
        },
    ),
    "serve": (
        {"directory": "none"},
        {
            "directory": path(refused=("", "a\0b", 3, True, None)),
            "host": Takes(refused=["", "nowhere.invalid", 3, None, True, "1.2.3.4.5", LONG]),
            "port": integer(1, 65_535),
            "limits": Takes(refused=[3, "a", True]),
            "watch": BOOLEAN,
            "versions": integer(1, none=True),
            "runtime": choice("openvino", "onnxruntime", none=True),
            "allow_hosts": Takes((), ["a.example"], refused=["", 3, [3], ["a b"], None]),
            "allow_origins": Takes((), ["https://a.example"], refused=["", 3, [3], ["a.example"], None]),
            "log_format": choice("text", "json"),
        },
    ),
    "set_pixel_statistics": (
        {"model": lambda things: things["model"], "dataset": lambda things: things["digits"], "recipe": kzoo.Recipe()},
        {name: Takes(refused=[None, 3, "default"]) for name in ("model", "dataset", "recipe")},
    ),
    "set_precision": ({}, {"name": choice("float32")}),
    "sweep": (
        {"model": "resnet20", "dataset": lambda things: things["digits"]},
        {
            "model": choice(),
            "dataset": Takes(refused=[None, 3, "digits"]),
            "recipe": Takes(refused=["", "nothing", None, 3, True, {}]),
            "grid": Takes(refused=[3, "a", ["a"], {"epochs": 3}, {"epochs": []}, {"epochs": [0]}, {"none": [1]}]),
            "seeds": Takes(refused=[True, 1.5, "3", NAN, INF, None, 0, -1, [], [0, 0], [-1], 10**9]),
            "directory": NEW_PATH,
            "retry_failed": BOOLEAN,
            "verbose": Takes(refused=[3, "loud"]),
        },
    ),
    "train": (
        {"model": "resnet20", "dataset": lambda things: things["digits"]},
        {
            "model": choice(),
            "dataset": Takes(refused=[None, 3, "digits"]),
            "recipe": Takes(refused=["", "nothing", None, 3, True, {}]),
            "callbacks": Takes(refused=[3, "a", True, [3]]),
            "seed": SEED,
            "run_dir": NEW_PATH,
            "verbose": Takes(refused=[3, "loud"]),
            "resume": Takes(refused=[True, None, 0, 1, "yes", "", NAN]),
            "checkpoint_every": Takes(refused=["", "0s", 0, -1, None, True, 1.5, NAN, INF, 2**63]),
            "teacher": Takes(refused=["none", "", "a\0b", 3, True]),
            "devices": Takes(refused=DEVICES),
        },
    ),
    "wide_resnet": (
        {"depth": 10, "width": 1, "input_shape": (8, 8, 3)},
        {
            "depth": Takes(np.int8(10), refused=[0, -1, 2, 9, True, None, 10.0, "10", NAN, 2**63]),
            "width": integer(1),
        },
    ),
}
TABLE["Conv2DReLU"] = TABLE["Conv2D"]


# What kzoo makes and callers read; Keras's own arguments; and one constructor of all models.
MADE_BY_KZOO = {"Description", "Evaluation", "Exported", "Prediction", "PresetInfo"}
OF_KERAS = {"Add", "Model", "ReLU", "ScaleShift"}
AS_RESNET = set(kzoo.list_models())
ARGUMENTS = [(function, argument) for function, (_, arguments) in TABLE.items() for argument in arguments]


DIGITS = functools.cache(read_digits)


class ReachedError(Exception):
    """The arguments were taken, and the work would begin."""


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    """Stops what would take long where its arguments have been taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kzoo.data.sources.read_digits", DIGITS)

    def reached(*arguments, **options):
        raise ReachedError

    for name in (
        "training.loop.opened_run",
        "sweeps.running.write_sweep",
        "export.exporting.private_folder",
        "data.prepare.read_parts",
        "serving.server._check_installed",
    ):
        monkeypatch.setattr(f"kzoo.{name}", reached)


def call(function, argument, value, things):
    given = {**TABLE[function][0], argument: value}
    given = {name: one(things) if inspect.isfunction(one) else one for name, one in given.items()}
    first = [given.pop("name")] if function == "create_model" else []
    result = getattr(kzoo, function)(*first, **given)
    if function == "precision":
        with result:
            pass


def is_told(error):
    """Whether an error says what was expected and what came, or it is the system's and names the file."""
    of_system = isinstance(error, OSError) and error.filename is not None
    return of_system or re.search(r"(must|Expected|has the|needs) .*Received: ", str(error), re.DOTALL)


@pytest.mark.parametrize(("function", "argument"), ARGUMENTS)
def test_what_an_argument_refuses_is_told(function, argument, things):
    for value in TABLE[function][1][argument].refused:
        with pytest.raises((ValueError, OSError)) as caught:
            call(function, argument, value, things)
        assert is_told(caught.value), f"{value!r}: {caught.value}"


@pytest.mark.parametrize(("function", "argument"), ARGUMENTS)
def test_what_an_argument_takes_is_taken(function, argument, things):
    for value in TABLE[function][1][argument].taken:
        with contextlib.suppress(ReachedError):
            call(function, argument, value, things)


def test_every_argument_of_every_public_function_has_its_limits():
    for name in set(kzoo.__all__) - MADE_BY_KZOO - OF_KERAS - AS_RESNET:
        parameters = inspect.signature(getattr(kzoo, name)).parameters.values()
        named = {one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
        assert named <= TABLE.get(name, ({}, {}))[1].keys(), name
    assert Arguments.__annotations__.keys() <= TABLE["resnet"][1].keys()


# The numbers of the command line: what each command is given, and values beyond the limits of each option.
SIZES = ["0", "-1", "100000"]
SHARES = ["1", "-0.1", "nan"]
SEEDS = ["-1", str(2**64)]
WHOLE = ["0", "-1"]
TIMES = ["0", "-1", "nan", "inf"]
COMMANDS = {
    "train": (
        ["plain20"],
        {
            "epochs": [*WHOLE, "100001", str(2**63)],
            "batch_size": WHOLE,
            "lr": ["0", "-1", "nan", "inf"],
            "dropout": SHARES,
            "patience": ["-1"],
            "min_delta": ["-1", "nan"],
            "seed": SEEDS,
            "image_size": SIZES,
            "channels": ["0", "2", "5"],
        },
    ),
    "explain": (["run", "a.png"], {"target": ["-1"]}),
    "study": (["dropout", "--smoke"], {"seeds": WHOLE, "image_size": SIZES}),
    "launch": (["kzoo"], {"workers": [*WHOLE, "1025"]}),
    "sweep": (["plain20"], {"seeds": WHOLE, "dropout": SHARES, "image_size": SIZES, "channels": ["0", "2", "5"]}),
    "evaluate": (["--model", "plain20", "--weights", "a.weights.h5", "--data", "digits"], {"image_size": SIZES}),
    "predict": (["run", "a.png"], {"top": WHOLE}),
    "export": (
        [
            "a.weights.h5",
            "--out",
            "out",
            "--model",
            "plain20",
            "--data",
            "digits",
            "--quantize",
            "int8",
            "--format",
            "onnx",
        ],
        {"version": WHOLE, "calibrate": WHOLE, "max_drop": ["-0.1", "1.5", "nan"]},
    ),
    "serve": (
        ["none"],
        {
            "port": [*WHOLE, "65536"],
            "versions": WHOLE,
            **dict.fromkeys(("max_body_bytes", "max_batch", "max_pixels", "max_request_pixels"), WHOLE),
            **dict.fromkeys(("max_queue", "max_connections", "max_together"), WHOLE),
            "deadline_seconds": TIMES,
            "header_seconds": TIMES,
            "body_seconds": TIMES,
            "wait_milliseconds": ["-1", "nan", "inf"],
        },
    ),
    "data prepare": (["pets", "--from", "."], {"image_size": SIZES, "channels": ["0", "2", "5"]}),
    "data info": (["digits"], {"image_size": SIZES, "channels": ["0", "2", "5"]}),
    "parity record": (
        ["a.npz", "--image-size", "8", "--steps", "1"],
        {"steps": WHOLE, "dropout": SHARES, "seed": SEEDS, "image_size": SIZES},
    ),
}


def handlers(program, path=()):
    """Yields the words of each command, and the function that handles it."""
    for command in program.registered_commands:
        yield " ".join([*path, command.name or command.callback.__name__]), command.callback
    for group in program.registered_groups:
        yield from handlers(group.typer_instance, [*path, *([group.name] if group.name else [])])


HANDLERS = dict(handlers(app))
NUMBERS = [
    (command, option, float if "float" in str(kind) else int)
    for command, handler in HANDLERS.items()
    for option, kind in typing.get_type_hints(handler).items()
    if kind in (int, float, int | None, float | None)
]


def refusal(*arguments):
    """Returns the exit status of a command that is refused, and what is said."""
    try:
        result = kzoo_command(*arguments)
    except (ValueError, OSError) as error:
        return 1, str(error)
    return result.exit_code, result.output


def test_every_number_of_the_command_line_has_its_limits():
    limited = {(command, option) for command, (_, limits) in COMMANDS.items() for option in limits}
    assert limited == {(command, option) for command, option, _ in NUMBERS}


@pytest.mark.parametrize(("command", "option", "kind"), NUMBERS)
def test_number_beyond_the_limits_of_an_option_is_told(command, option, kind, things):
    if command == "export":
        kzoo.save_weights(kzoo.plain20(input_shape=things["digits"].image_shape), "a.weights.h5")
    Path("run").symlink_to(things["run"].directory)
    given, limits = COMMANDS[command]
    flag = f"--{option.replace('_', '-')}"
    for value in limits[option]:
        status, said = refusal(*command.split(), *given, f"{flag}={value}")
        assert (status, bool(is_told(ValueError(said)))) == (1, True), f"{flag}={value}: {said}"
    for value in ["", "a", "é", *(["1.5", "nan", "1e3"] if kind is int else [])]:
        status, said = refusal(*command.split(), *given, f"{flag}={value}")
        assert (status, flag in said) == (2, True), f"{flag}={value}: {said}"


@pytest.mark.parametrize("command", HANDLERS)
def test_option_that_there_is_not_is_told(command):
    status, said = refusal(*command.split(), "--none")
    assert (status, "No such option" in said) == (2, True)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, option)
        for command, handler in HANDLERS.items()
        for option, kind in typing.get_type_hints(handler).items()
        if kind is bool and option != "as_json"
    ],
)
def test_switch_with_a_value_is_told(command, option):
    given = COMMANDS.get(command, (["a"],))[0]
    flag = f"--{option.replace('_', '-')}"
    status, said = refusal(*command.split(), *given, f"{flag}=no")
    assert (status, flag in said) == (2, True), said
