"""The card of a preset, `README.md`: what `config.json` knows, for people and for the Hugging Face hub.

What is not known is left out. The block at the top is YAML as the hub defines it; JSON is YAML, so each value is JSON.

Reference:
    - [Model cards](https://huggingface.co/docs/hub/model-cards)
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from kzoo.presets.config import TENSORS, PresetConfig

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def card(config: PresetConfig) -> str:
    """Returns the card of a preset.

    Args:
        config: Its configuration. Of `about` the card knows `description`, `data` (`name`, `fingerprint`, `images`),
            `recipe`, `recipe_name`, `seed`, `command`, `backend`, `device`, `versions`, `train_seconds`, `epochs`,
            `epochs_run`, `best_epoch`, `validation` and `test` (`images`, `accuracy`, `top5_accuracy`, `loss`,
            `calibration_error`, `calibration_error_scaled`, `per_class`), `published_top1` and `published_on`,
            `measured_top1`, `licence`, `source` and `created`. Whatever is missing is left out.
    """
    sections = [
        _metadata(config),
        _introduction(config),
        _accuracy(config.about),
        _training(config.about),
        _use(config),
    ]
    return "\n".join(section for section in sections if section)


def _metadata(config: PresetConfig) -> str:
    about, model = config.about, config.construction.model
    data = _object(about, "data").get("name")
    content: dict[str, Any] = {"library_name": "kzoo", "pipeline_tag": "image-classification"}
    content["tags"] = ["kzoo", "keras", "resnet", "image-classification"]
    if about.get("licence"):
        content["license"] = str(about["licence"]).lower()
    if data:
        content["datasets"] = [data]
    test = _object(about, "test")
    results = []
    if _is_fraction(test.get("accuracy")) and data:
        measured = [{"type": "accuracy", "name": "top-1", "value": test["accuracy"]}]
        if _is_number(test.get("calibration_error")):
            name = "expected calibration error, 15 bins"
            measured.append({"type": "ece", "name": name, "value": test["calibration_error"]})
        results.append(
            {
                "task": {"type": "image-classification", "name": "Image classification"},
                "dataset": {"type": data, "name": data, "split": "test"},
                "metrics": measured,
            }
        )
        content["metrics"] = ["accuracy"]
        content["model-index"] = [{"name": model, "results": results}]
    lines = [f"{name}: {json.dumps(value)}" for name, value in content.items()]
    return "\n".join(["---", *lines, "---", ""])


def _introduction(config: PresetConfig) -> str:
    about, construction = config.about, config.construction
    data = _object(about, "data").get("name")
    title = f"# {construction.model}" + (f" on {_plain(data)}" if data else "")
    height, width, channels = construction.arguments["input_shape"]
    size = "of any size" if None in (height, width) else f"{width}x{height} pixels"
    takes = f"It takes images in [0, 255], {size}, {channels} channel{'s' * (channels != 1)}"
    gives = "features" if construction.classes is None else f"one number for each of {construction.classes} classes"
    said = [_plain(about["description"]), ""] if about.get("description") else []
    lines = [title, "", *said, f"{takes}, and gives {gives}."]
    if config.class_names is not None and len(config.class_names) <= 100:
        lines += ["", f"Classes: {', '.join(map(_plain, config.class_names))}."]
    return "\n".join(lines) + "\n"


def _accuracy(about: Mapping[str, Any]) -> str:
    rows = []
    splits = [(name, _object(about, name)) for name in ("validation", "test")]
    splits = [(name, found) for name, found in splits if found]
    names = {
        "images": "images",
        "accuracy": "top-1",
        "top5_accuracy": "top-5",
        "loss": "loss (nats)",
        "calibration_error": "calibration error (ECE, 15 bins)",
        "calibration_error_scaled": "calibration error after temperature scaling",
    }
    for key, name in names.items():
        if any(key in found for _, found in splits):
            rows.append([name, *(_cell(found.get(key)) for _, found in splits)])
    text = _table(["", *(name for name, _ in splits)], rows) if rows else ""
    if "calibration_error_scaled" in _object(about, "test"):
        text += "\nThe temperature was fitted on the validation images (Guo et al., 2017); `config.json` has it.\n"
    published = about.get("published_top1")
    if _is_fraction(published):
        text += f"\nPublished: top-1 {published:.4f} on {_plain(about.get('published_on', 'the test images'))}.\n"
    for name, value in _object(about, "measured_top1").items():
        text += f"\nMeasured with kzoo: top-1 {_cell(value)} on {_plain(name)}.\n"
    per_class = _object(_object(about, "test"), "per_class")
    if per_class:
        rows = [[_plain(name), _cell(value)] for name, value in per_class.items()]
        text += "\n" + _table(["class", "top-1 (test)"], rows)
    return f"## Accuracy\n\n{text.lstrip()}" if text else ""


def _training(about: Mapping[str, Any]) -> str:
    data = _object(about, "data")
    images = ", ".join(f"{count} {split}" for split, count in _object(data, "images").items())
    prints = ", ".join(f"{name} {value}" for name, value in _object(data, "fingerprint").items())
    versions = ", ".join(f"{name} {value}" for name, value in _object(about, "versions").items())
    recipe = about.get("recipe")
    seconds: Any = about.get("train_seconds")
    facts = {
        "data": data.get("name"),
        "images": images,
        "fingerprint of the data": prints,
        "recipe": about.get("recipe_name") or (recipe if isinstance(recipe, str) else None),
        "seed": about.get("seed"),
        "epochs run": about.get("epochs_run"),
        "epochs planned": about.get("epochs"),
        "epoch of these weights": about.get("best_epoch"),
        "hours": f"{seconds / 3600:.3g}" if _is_number(seconds) else None,
        "backend": about.get("backend"),
        "device": about.get("device"),
        "versions": versions,
        "command": f"`{_code(about['command'])}`" if about.get("command") else None,
        "source": about.get("source"),
        "licence": about.get("licence"),
        "date": about.get("created"),
    }
    rows = [
        [name, value if name == "command" else _plain(value)]
        for name, value in facts.items()
        if value not in (None, "")
    ]
    text = _table(["", ""], rows) if rows else ""
    if isinstance(recipe, dict):
        settings = "\n".join(f"{_code(name)} = {_code(json.dumps(value))}" for name, value in recipe.items())
        text += f"\nThe recipe:\n\n```text\n{settings}\n```\n"
    return f"## Training\n\n{text}" if text else ""


def _use(config: PresetConfig) -> str:
    return (
        "## Use\n\n"
        "```python\n"
        "import kzoo\n\n"
        'model = kzoo.load_preset("FOLDER")  # or a name, or hf://owner/name\n'
        "kzoo.decode_predictions(model.predict(images), class_names=model)\n"
        "```\n\n"
        f"The weights are in `{TENSORS}` ({config.size_bytes:,} bytes), the rest is in `config.json`. Nothing in this "
        "folder is run.\n"
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _object(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns an object within another, or an empty one: what a stranger says may be anything."""
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else _plain(value)


def _plain(value: Any) -> str:
    """Returns a text in one line in which nothing is Markdown."""
    return _MARKS.sub(r"\\\1", _CONTROL.sub(" ", str(value)))


def _code(value: Any) -> str:
    return _CONTROL.sub(" ", str(value)).replace("`", "'").replace("|", "\\|")
