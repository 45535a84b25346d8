"""The presets that kzoo knows by name: published checkpoints, and those in the package."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo.choices import hint
from kzoo.data.published import CIFAR10_CLASSES, CIFAR100_CLASSES
from kzoo.presets.config import CONFIG, PresetConfig
from kzoo.presets.construction import Construction

PRETRAINED = Path(__file__).with_name("pretrained")
_IN_THE_PACKAGE = re.compile(r"[\w.-]*\w[\w.-]*/[\w.-]*\w[\w.-]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class PresetInfo:
    """What is known of a preset.

    Attributes:
        name: What `kzoo.load_preset` and `weights=` take.
        model: The model's name, one of `kzoo.list_models()`.
        construction: How the model is built.
        class_names: The outputs' names, in order, or `None` if they are not known.
        file: Name under which the file of `url` is kept, or `None` without one.
        url: Where a checkpoint is published that is converted on first use, or `None` for a preset in the package.
        sha256: Of the file: 64 hexadecimal digits, or the first 8 where no more is published.
        size_bytes: Of the file, or `None` where it is not known.
        layout: The layout of a PyTorch checkpoint; `None` for a preset, or a `.weights.h5` file.
        about: Data, recipe, licence, source, accuracy: what the card shows.

    Example:
        >>> kzoo.preset_info("digits/resnet20").model
        'resnet20'
    """

    name: str
    model: str
    construction: Construction
    class_names: tuple[str, ...] | None
    file: str | None
    url: str | None
    sha256: str
    size_bytes: int | None
    layout: str | None
    about: Mapping[str, Any]

    @property
    def classes(self) -> int | None:
        """Number of outputs, or `None` without the top."""
        return self.construction.classes

    @property
    def sha256_known(self) -> str:
        """What the check of the file rests on, for showing."""
        digits = len(self.sha256)
        return "whole" if digits == 64 else f"only the first {digits} digits are published"

    @property
    def top1(self) -> float | None:
        """Accuracy on the test images: measured by kzoo, or else what the source states; `None` if neither is known."""
        test = self.about.get("test")
        measured = test.get("accuracy") if isinstance(test, Mapping) else None
        found = self.about.get("published_top1") if measured is None else measured
        return found if isinstance(found, float) else None


def _akamaster(
    depth: int, sha256: str, error: float, size_bytes: int | None = None, measured: float | None = None
) -> PresetInfo:
    repository = "https://github.com/akamaster/pytorch_resnet_cifar10"
    file = f"resnet{depth}-{sha256[:8]}.th"
    about = {
        "data": {"name": "cifar10"},
        "recipe": "akamaster: 200 epochs of SGD on all 50,000 training images, rate 0.1 divided by 10 after 100 and "
        "150, weight decay 1e-4; the epoch that did best on the test set",
        "licence": "BSD-2-Clause",
        "source": repository,
        "published_top1": round(1 - error / 100, 4),
        "published_on": "CIFAR-10, its 10,000 test images",
    }
    if measured is not None:
        about["measured_top1"] = {"cifar10-jpeg, its 10,000 test images": measured}
    return PresetInfo(
        name=f"akamaster_resnet{depth}",
        model=f"resnet{depth}",
        construction=Construction.of("resnet", depth),
        class_names=CIFAR10_CLASSES,
        file=file,
        url=f"{repository}/raw/master/pretrained_models/{file}",
        sha256=sha256,
        size_bytes=size_bytes,
        layout="akamaster",
        about=about,
    )


def _chenyaofo(data: str, depth: int, sha256: str, top1: float) -> PresetInfo:
    repository = "https://github.com/chenyaofo/pytorch-cifar-models"
    file = f"{data}_resnet{depth}-{sha256}.pt"
    names = CIFAR100_CLASSES if data == "cifar100" else CIFAR10_CLASSES
    return PresetInfo(
        name=f"chenyaofo_{data}_resnet{depth}",
        model=f"resnet{depth}",
        construction=Construction.of("resnet", depth, shortcut="projection", classes=len(names)),
        class_names=names,
        file=file,
        url=f"{repository}/releases/download/resnet/{file}",
        sha256=sha256,
        size_bytes=None,
        layout="chenyaofo",
        about={
            "data": {"name": data},
            "recipe": "chenyaofo: 200 epochs of SGD, cosine schedule, weight decay 5e-4",
            "licence": "BSD-3-Clause",
            "source": repository,
            "published_top1": round(top1 / 100, 4),
            "published_on": f"{data.upper().replace('CIFAR', 'CIFAR-')}, its 10,000 test images",
        },
    )


_PUBLISHED = (
    _akamaster(20, "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8", 8.27, 1_099_231, 0.8103),
    _akamaster(32, "d509ac18", 7.37),
    _akamaster(44, "014dd654", 6.90),
    _akamaster(56, "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367", 6.61, 3_471_733, 0.8320),
    _akamaster(110, "1d1ed7c2", 6.32),
    _chenyaofo("cifar10", 20, "4118986f", 92.60),
    _chenyaofo("cifar10", 32, "ef93fc4d", 93.53),
    _chenyaofo("cifar10", 44, "2a3cabcb", 94.01),
    _chenyaofo("cifar10", 56, "187c023a", 94.37),
    _chenyaofo("cifar100", 20, "23dac2f1", 68.83),
    _chenyaofo("cifar100", 32, "84213ce6", 70.16),
    _chenyaofo("cifar100", 44, "ffe32858", 71.63),
    _chenyaofo("cifar100", 56, "f2eff4c8", 72.63),
)
_REGISTRY = {entry.name: entry for entry in _PUBLISHED}


def list_presets() -> list[str]:
    """Lists the names that `kzoo.load_preset` and `weights=` take: presets in the package, then published ones.

    Returns:
        A list of strings.

    Example:
        >>> kzoo.list_presets()[-1]
        'chenyaofo_cifar100_resnet56'
    """
    folders = sorted(path.parent for path in PRETRAINED.glob(f"*/*/{CONFIG}"))
    return [*(f"{folder.parent.name}/{folder.name}" for folder in folders), *_REGISTRY]


def preset_info(name: str) -> PresetInfo:
    """Returns what is known of a preset, without fetching it.

    Args:
        name: String, one of `kzoo.list_presets()`.

    Raises:
        ValueError: If there is none of that name; the message suggests the nearest.

    Example:
        >>> kzoo.preset_info("akamaster_resnet20").top1
        0.9173
    """
    found = known_preset(name) if isinstance(name, str) else None
    if found is None:
        names = list_presets()
        raise ValueError(
            f"`name` must be that of a preset, one of {', '.join(names)}. Received: name={name!r}.{hint(name, names)}"
        )
    return found


def known_preset(name: str) -> PresetInfo | None:
    """Returns what is known of a preset of that name, or `None` if there is none."""
    if name in _REGISTRY:
        return _REGISTRY[name]
    if not _IN_THE_PACKAGE.fullmatch(name) or not (PRETRAINED / name / CONFIG).is_file():
        return None
    config = PresetConfig.read(PRETRAINED / name)
    return PresetInfo(
        name,
        config.construction.model,
        config.construction,
        config.class_names,
        None,
        None,
        config.sha256,
        config.size_bytes,
        None,
        config.about,
    )


def models_with_presets() -> set[str]:
    """Returns the names of models of which there is a preset."""
    return {preset_info(name).model for name in list_presets()}
