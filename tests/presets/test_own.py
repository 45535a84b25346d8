"""The presets in the package: whole, small, and as good as their cards say on every backend."""

import json
import re

import pytest

import kzoo
from kzoo.presets.card import card
from kzoo.presets.config import PresetConfig
from kzoo.presets.registry import PRETRAINED

OWN = [name for name in kzoo.list_presets() if "/" in name]
MOST_BYTES = 8_000_000


def test_there_is_one_for_digits():
    assert "digits/resnet20" in OWN


@pytest.mark.parametrize("name", OWN)
def test_preset_is_whole_and_says_where_it_is_from(name):
    folder = PRETRAINED / name
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    config = PresetConfig.read(folder)
    assert (folder / "README.md").read_text() == card(config)
    assert config.construction.model == name.partition("/")[2]
    assert config.about["data"]["name"] == name.partition("/")[0]
    assert {"recipe", "seed", "command", "validation", "test", "licence"} <= config.about.keys()
    assert not re.search(r"/(home|root|tmp|work|shared)\b", json.dumps(config.about))


@pytest.mark.parametrize("name", OWN)
def test_preset_is_found_by_its_model_and_data(name):
    data, _, model = name.partition("/")
    built = kzoo.create_model(model, weights=data)
    assert built.class_names == kzoo.preset_info(name).class_names


@pytest.mark.shared
@pytest.mark.parametrize("name", [name for name in OWN if name.startswith("cifar10-jpeg/")])
def test_accuracy_on_cifar10_jpeg_is_that_of_the_card_to_the_image(name, shared):
    about = kzoo.preset_info(name).about
    dataset = kzoo.load_dataset(shared / "data" / "cifar10-jpeg.zip")
    found = kzoo.evaluate_saved(preset=name, dataset=dataset)
    assert found.accuracy == about["test"]["accuracy"] > 0.87
    assert found.per_class == about["test"]["per_class"]


def test_all_together_are_small():
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < MOST_BYTES


def test_accuracy_on_digits_is_that_of_the_card_to_the_image():
    about = kzoo.preset_info("digits/resnet20").about
    found = kzoo.evaluate_saved(preset="digits/resnet20", dataset=kzoo.load_dataset("digits"))
    assert found.accuracy == about["test"]["accuracy"] > 0.98
    assert found.per_class == about["test"]["per_class"]
