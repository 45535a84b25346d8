"""Presets: their configuration and the header of their weights."""

import functools
import hashlib
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
from fuzz.target import coded, target

import kzoo
from kzoo.presets.card import card
from kzoo.presets.config import PresetConfig
from kzoo.presets.hub import HubName
from kzoo.presets.tensors import file_of, read_header, read_tensors


@functools.cache
def config_of() -> bytes:
    """Returns the `config.json` of a preset."""
    with tempfile.TemporaryDirectory() as folder:
        model = kzoo.resnet(8, classes=2, input_shape=(8, 8, 3))
        about = {"data": {"name": "d", "images": {"test": 1}}, "test": {"accuracy": 0.5, "per_class": {"a": 0.5}}}
        saved = kzoo.save_preset(model, Path(folder) / "preset", class_names=["a", "b"], about=about)
        content = json.loads((saved / "config.json").read_text())
    content["weights"] = {"bytes": 1, "sha256": "0" * 64}  # the same on every backend
    return coded(content)


@target("config.json", lambda: [config_of()])
def preset_config(content, folder):
    (folder / "config.json").write_bytes(content)
    config = PresetConfig.read(folder)
    assert config.construction.constructor in ("resnet", "wide_resnet")
    assert config.class_names is None or len(config.class_names) == config.construction.classes
    assert PresetConfig.from_json(json.loads(config.text())) == config
    card(config).encode()
    if config.construction.arguments["input_shape"][2] in (1, 3, 4):
        config.decoding()


TENSORS = file_of({"a/kernel": np.ones((2, 3), np.float32), "b/step": np.zeros((), np.int32)})


@target("model.safetensors", lambda: [TENSORS])
def tensors(content, folder):
    path = folder / "model.safetensors"
    path.write_bytes(content)
    header = read_header(path)
    found = read_tensors(path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    assert {name: value.shape for name, value in found.items()} == {name: one.shape for name, one in header.items()}
    assert {name: value.dtype.newbyteorder("<") for name, value in found.items()} == {
        name: one.dtype for name, one in header.items()
    }


@target("model.safetensors", lambda: [TENSORS[8 : 8 + struct.unpack("<Q", TENSORS[:8])[0]]])
def tensors_header(content, folder):
    tensors(struct.pack("<Q", len(content)) + content + TENSORS[-28:], folder)


@target("hf://owner/name", lambda: [b"hf://a/b", b"hf://a-1/b.c@main", b"hf://a/b@refs/pr/1"])
def hub_name(content, folder):
    found = HubName.parse(content.decode(errors="replace"))
    assert HubName.parse(str(found)) == found
    assert ".." not in str(found)
