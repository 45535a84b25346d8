"""The card says what is known, nothing else, and a stranger's words stay words."""

import json
import re

import pytest

import kzoo
from kzoo.presets.card import card
from kzoo.presets.config import PresetConfig
from kzoo.presets.construction import Construction

ABOUT = {
    "data": {"name": "letters", "images": {"train": 10, "test": 4}, "fingerprint": {"labels": "aa", "pixels": "bb"}},
    "recipe_name": "default",
    "recipe": {"epochs": 2, "milestones": []},
    "seed": 0,
    "command": "kzoo train resnet20 --data 'my letters'",
    "backend": "jax",
    "versions": {"kzoo": "0.1.0"},
    "train_seconds": 5400,
    "epochs": 2,
    "epochs_run": 2,
    "best_epoch": 1,
    "validation": {"images": 2, "accuracy": 0.5},
    "test": {
        "images": 4,
        "accuracy": 0.75,
        "calibration_error": 0.25,
        "calibration_error_scaled": 0.125,
        "per_class": {"a": 1.0, "b": 0.5},
    },
    "licence": "CC0-1.0",
}


def config(about, names=("a", "b")):
    statistics = {"mean": [0.5] * 3, "std": [0.5] * 3}
    images = {"image_size": None, "resize": "stretch", "background": 255}
    built = Construction.of("resnet", 20, classes=2)
    return PresetConfig(built, "float32", names, statistics, images, 1.5, 1000, "0" * 64, about)


def metadata(text):
    """Returns what is in the block at the top."""
    yaml = pytest.importorskip("yaml")
    _, block, rest = text.split("---\n", 2)
    assert "---" not in rest.split("#")[0]
    return yaml.safe_load(block)


def test_metadata_are_what_the_hub_reads():
    found = metadata(card(config(ABOUT)))
    assert found["library_name"] == "kzoo"
    assert found["datasets"] == ["letters"]
    assert found["metrics"] == ["accuracy"]
    assert found["license"] == "cc0-1.0"
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert model["name"] == "resnet20"
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "letters", "name": "letters", "split": "test"}
    assert result["metrics"][0] == {"type": "accuracy", "name": "top-1", "value": 0.75}


def test_metadata_are_valid_for_the_library_of_the_hub(tmp_path):
    cards = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    (tmp_path / "README.md").write_text(card(config(ABOUT)))
    found = cards.ModelCard.load(tmp_path / "README.md").data
    (result, *_) = found.eval_results
    assert (found.model_name, result.metric_type, result.metric_value) == ("resnet20", "accuracy", 0.75)


@pytest.mark.parametrize(
    "line",
    [
        "# resnet20 on letters",
        "| top-1 | 0.5000 | 0.7500 |",
        "| calibration error (ECE, 15 bins) |  | 0.2500 |",
        "| calibration error after temperature scaling |  | 0.1250 |",
        "| b | 0.5000 |",
        "| images | 10 train, 4 test |",
        "| fingerprint of the data | labels aa, pixels bb |",
        "| recipe | default |",
        "| seed | 0 |",
        "| epoch of these weights | 1 |",
        "| hours | 1.5 |",
        "| command | `kzoo train resnet20 --data 'my letters'` |",
        "milestones = []",
        "Classes: a, b.",
    ],
)
def test_card_says_what_is_known(line):
    assert line in card(config(ABOUT)).splitlines()


def test_what_is_not_known_is_left_out():
    text = card(config({}, names=None))
    assert "## Accuracy" not in text
    assert "## Training" not in text
    assert "Classes" not in text
    assert not re.search(r"None|null|nan|energy|kWh", text)
    assert metadata(text).keys() == {"library_name", "pipeline_tag", "tags"}


def test_words_of_strangers_are_no_markup():
    evil = "x\n---\nlicense: mit\n# <script>alert(1)</script> | [a](http://b) `rm`"
    about = {"data": {"name": evil}, "description": evil, "command": evil, "test": {"per_class": {evil: 0.5}}}
    text = card(config({**about, "recipe": {evil: evil}}, names=(evil, "b")))
    assert metadata(text)["datasets"] == [evil]
    body = text.split("---\n", 2)[2]
    assert "\n---\n" not in body
    assert "\n# <script>" not in body
    assert "<script>" not in re.sub(r"`[^`]*`", "", body)


@pytest.mark.parametrize("name", ["data", "test", "validation", "recipe", "versions", "measured_top1", "train_seconds"])
@pytest.mark.parametrize("value", [None, True, 3, 1e300, "a", [], [[1]], {"a": {"b": []}}])
def test_any_facts_make_a_card(name, value):
    about = {**ABOUT, name: value}
    assert card(config(about)).startswith("---\n")


def test_card_of_a_saved_model_shows_how_to_use_it(tmp_path):
    folder = kzoo.save_preset(kzoo.resnet(8, input_shape=(8, 8, 3)), tmp_path / "preset", about={"seed": 1})
    text = (folder / "README.md").read_text()
    assert "kzoo.load_preset(" in text
    assert json.loads((folder / "config.json").read_text())["about"] == {"seed": 1}
