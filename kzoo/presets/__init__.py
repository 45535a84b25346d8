"""Weights in and out of models: files, PyTorch checkpoints, and the weights that are known by name."""

from kzoo.presets.cache import add_weights, cached_weights, fetch
from kzoo.presets.decoding import decode_predictions
from kzoo.presets.layouts import LAYOUTS, layout_named
from kzoo.presets.loading import load_weights, named_as_weights, save_weights
from kzoo.presets.registry import WeightsEntry, list_weights, registered, weights_info
from kzoo.presets.torch_import import classes_of, convert_torch_checkpoint, load_torch_checkpoint

__all__ = [
    "LAYOUTS",
    "WeightsEntry",
    "add_weights",
    "cached_weights",
    "classes_of",
    "convert_torch_checkpoint",
    "decode_predictions",
    "fetch",
    "layout_named",
    "list_weights",
    "load_torch_checkpoint",
    "load_weights",
    "named_as_weights",
    "registered",
    "save_weights",
    "weights_info",
]
