"""Presets: models in folders. Saved, loaded strictly, found by name, imported from PyTorch, fetched and published."""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily

if TYPE_CHECKING:
    from kzoo.presets.cache import add_preset, cached_preset, folder_of
    from kzoo.presets.config import CONFIG, TENSORS, PresetConfig
    from kzoo.presets.construction import Construction
    from kzoo.presets.decoding import decode_predictions
    from kzoo.presets.finding import find_preset, find_weights, is_preset
    from kzoo.presets.folder import check_header, load_tensors, save_preset, variables_of
    from kzoo.presets.hub import HubName, push_preset
    from kzoo.presets.layouts import LAYOUTS, layout_named
    from kzoo.presets.loading import load_weights, named_as_weights, save_weights
    from kzoo.presets.registry import PresetInfo, list_presets, models_with_presets, preset_info
    from kzoo.presets.tensors import read_header
    from kzoo.presets.torch_export import save_torch_checkpoint
    from kzoo.presets.torch_import import classes_of, convert_torch_checkpoint, load_torch_checkpoint
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "cache": ["add_preset", "cached_preset", "folder_of"],
            "config": ["CONFIG", "TENSORS", "PresetConfig"],
            "construction": ["Construction"],
            "decoding": ["decode_predictions"],
            "finding": ["find_preset", "find_weights", "is_preset"],
            "folder": ["check_header", "load_tensors", "save_preset", "variables_of"],
            "hub": ["HubName", "push_preset"],
            "layouts": ["LAYOUTS", "layout_named"],
            "loading": ["load_weights", "named_as_weights", "save_weights"],
            "registry": ["PresetInfo", "list_presets", "models_with_presets", "preset_info"],
            "tensors": ["read_header"],
            "torch_export": ["save_torch_checkpoint"],
            "torch_import": ["classes_of", "convert_torch_checkpoint", "load_torch_checkpoint"],
        },
    )

__all__ = [
    "CONFIG",
    "LAYOUTS",
    "TENSORS",
    "Construction",
    "HubName",
    "PresetConfig",
    "PresetInfo",
    "add_preset",
    "cached_preset",
    "check_header",
    "classes_of",
    "convert_torch_checkpoint",
    "decode_predictions",
    "find_preset",
    "find_weights",
    "folder_of",
    "is_preset",
    "layout_named",
    "list_presets",
    "load_tensors",
    "load_torch_checkpoint",
    "load_weights",
    "models_with_presets",
    "named_as_weights",
    "preset_info",
    "push_preset",
    "read_header",
    "save_preset",
    "save_torch_checkpoint",
    "save_weights",
    "variables_of",
]
