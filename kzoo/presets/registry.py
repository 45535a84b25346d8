"""The weights that kzoo knows by name: where from, how trained, how good."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from kzoo import arguments
from kzoo.choices import hint
from kzoo.data.published import CIFAR10_CLASSES


@dataclasses.dataclass(frozen=True)
class WeightsEntry:
    """Registered weights.

    Attributes:
        name: What `weights=` takes.
        model: The model's name, one of `kzoo.list_models()`.
        form: What the model is built with: `depth`, `order`, `shortcut`, `normalization`.
        class_names: The outputs' names, in order.
        file: Name of the file: in the package, if there is no URL, else where the URL's is kept.
        url: Where the file is published, or `None`.
        sha256: Of the file: 64 hexadecimal digits, or the first 8 where no more is published.
        size_bytes: Of the file, or `None` where it is not known.
        layout: The file's layout if it is a PyTorch checkpoint, which is converted on first use; or `None`.
        data: What was trained on.
        recipe: How.
        licence: SPDX identifier of the weights' licence.
        source: Where the code and the claim are published.
        published_top1: Accuracy that the source states, in [0, 1].
        published_on: What it was measured on.
        measured_top1: What kzoo reaches with these weights: data set to accuracy.
    """

    name: str
    model: str
    form: Mapping[str, Any]
    class_names: tuple[str, ...]
    file: str
    url: str | None
    sha256: str
    size_bytes: int | None
    layout: str | None
    data: str
    recipe: str
    licence: str
    source: str
    published_top1: float
    published_on: str
    measured_top1: Mapping[str, float]

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return len(self.class_names)

    @property
    def sha256_known(self) -> str:
        """What the check of the file rests on, for showing."""
        digits = len(self.sha256)
        return "whole" if digits == 64 else f"only the first {digits} digits are published"

    def check(self, form: Mapping[str, Any], *, classes: int | None) -> None:
        """Checks that a model is the one of these weights.

        Args:
            form: What the model is built with.
            classes: Number of its outputs, or `None` without the top.

        Raises:
            ValueError: If it is another model, or has other classes.
        """
        for key, expected in self.form.items():
            if form[key] != expected:
                raise ValueError(
                    f"`weights` {self.name!r} are for {self.model}, with {key}={expected!r}. "
                    f"Received: {key}={form[key]!r}."
                )
        if classes not in (None, self.classes):
            raise ValueError(
                f"`classes` must be {self.classes}, as of the weights {self.name!r}; or `include_top=False`. "
                f"Received: classes={classes}."
            )


def _akamaster(
    depth: int, sha256: str, error: float, size_bytes: int | None = None, measured: float | None = None
) -> WeightsEntry:
    repository = "https://github.com/akamaster/pytorch_resnet_cifar10"
    file = f"resnet{depth}-{sha256[:8]}.th"
    return WeightsEntry(
        name=f"akamaster_resnet{depth}",
        model=f"resnet{depth}",
        form={"depth": depth, "order": "classic", "shortcut": "pad", "normalization": "batch"},
        class_names=CIFAR10_CLASSES,
        file=file,
        url=f"{repository}/raw/master/pretrained_models/{file}",
        sha256=sha256,
        size_bytes=size_bytes,
        layout="akamaster",
        data="CIFAR-10, all 50,000 training images",
        recipe="akamaster: 200 epochs of SGD, rate 0.1 divided by 10 after 100 and 150, weight decay 1e-4; "
        "the epoch that did best on the test set",
        licence="BSD-2-Clause",
        source=repository,
        published_top1=round(1 - error / 100, 4),
        published_on="CIFAR-10, its 10,000 test images",
        measured_top1={} if measured is None else {"cifar10-jpeg, its 10,000 test images": measured},
    )


_ENTRIES = (
    _akamaster(20, "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8", 8.27, 1_099_231, 0.8103),
    _akamaster(32, "d509ac18", 7.37),
    _akamaster(44, "014dd654", 6.90),
    _akamaster(56, "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367", 6.61, 3_471_733, 0.8320),
    _akamaster(110, "1d1ed7c2", 6.32),
)
_REGISTRY = {entry.name: entry for entry in _ENTRIES}


def list_weights() -> list[str]:
    """Lists the names of weights that `weights=` takes."""
    return list(_REGISTRY)


def weights_info(name: str) -> WeightsEntry:
    """Returns what is known of registered weights.

    Raises:
        ValueError: If there are none of that name; the message suggests the nearest.

    Example:
        >>> kzoo.weights_info("akamaster_resnet20").published_top1
        0.9173
    """
    if not isinstance(name, str) or name not in _REGISTRY:
        raise ValueError(
            f"`weights` must be one of {', '.join(_REGISTRY)}, or the path of a .weights.h5 file. "
            f"Received: weights={name!r}.{hint(name, _REGISTRY)}"
        )
    return _REGISTRY[name]


def registered(weights: str | os.PathLike[str]) -> WeightsEntry | None:
    """Returns the entry if `weights` is a name, as a string or as a path, or `None` if it is the path of a file.

    Raises:
        ValueError: If it is a name that is not registered.
    """
    path = arguments.path(weights, "weights")
    name = os.fspath(weights)
    is_file = path.name != name or name.endswith(".h5") or path.exists()
    return None if is_file and name not in _REGISTRY else weights_info(name)
