"""How PyTorch repositories name and shape the tensors of a CIFAR ResNet."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

from kzoo.choices import check_choice
from kzoo.data.published import IMAGENET_MEAN, IMAGENET_STD

# Keras variable -> PyTorch's, of convolution, batch normalization and dense layer.
_VARIABLES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_BLOCK = re.compile(r"stage(\d)_block(\d+)_(conv|norm|shortcut_conv|shortcut_norm)([12]?)")

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A repository's names.

    Attributes:
        shortcut: The model's `shortcut`: `"pad"` (option A) or `"projection"` (option B).
        stem: Name of the first convolution and of its normalization.
        block: Name of what is in a block: by `stage`, `block` (from 0) or `unit` (from 1), and what it is, the
            `module`.
        conv: Name of a convolution and of its normalization within a block, with their `number`.
        projection: The same of a shortcut.
        classifier: Name of the dense layer.
        statistics: Number of classes to mean and deviation of the input, of pixels in [0, 1]; `None` for any number.
    """

    shortcut: Literal["pad", "projection"]
    classifier: str
    projection: tuple[str, str]
    statistics: Mapping[int | None, Statistics]
    stem: tuple[str, str] = ("conv1", "bn1")
    block: str = "layer{stage}.{block}.{module}"
    conv: tuple[str, str] = ("conv{number}", "bn{number}")

    def name_of(self, path: str) -> str | None:
        """Returns PyTorch's name of the variable at `path`, such as `stage1_block1_norm2/gamma`, if it has one."""
        layer, _, variable = path.partition("/")
        if variable not in _VARIABLES or (module := self._module_of(layer)) is None:
            return None
        return f"{module}.{_VARIABLES[variable]}"

    def statistics_for(self, classes: int) -> Statistics:
        """Returns mean and deviation of the input of a network with that many classes.

        Raises:
            ValueError: If the repository has no such networks.
        """
        found = self.statistics.get(classes) or self.statistics.get(None)
        if found is None:
            expected = " or ".join(map(str, self.statistics))
            raise ValueError(f"the model must have {expected} classes, as published. Received: {classes}.")
        return found

    def _module_of(self, layer: str) -> str | None:
        if layer in (outer := {"stem_conv": self.stem[0], "stem_norm": self.stem[1], "classifier": self.classifier}):
            return outer[layer]
        if not (match := _BLOCK.fullmatch(layer)):
            return None
        stage, block, kind, number = match.groups()
        names = self.projection if kind.startswith("shortcut") else self.conv
        module = names[kind.endswith("norm")].format(number=number)
        return self.block.format(stage=stage, block=int(block) - 1, unit=block, module=module)


# What these repositories take for the statistics of CIFAR-10.
_CIFAR10: Statistics = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
LAYOUTS = {
    # https://github.com/akamaster/pytorch_resnet_cifar10
    "akamaster": Layout(
        shortcut="pad",
        classifier="linear",
        projection=("shortcut.0", "shortcut.1"),
        statistics={None: (IMAGENET_MEAN, IMAGENET_STD)},
    ),
    # https://github.com/chenyaofo/pytorch-cifar-models
    "chenyaofo": Layout(
        shortcut="projection",
        classifier="fc",
        projection=("downsample.0", "downsample.1"),
        statistics={
            10: _CIFAR10,
            100: ((0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)),
        },
    ),
    # https://github.com/osmr/imgclsmob, which normalizes the images of CIFAR-100 and SVHN as those of CIFAR-10, too
    "pytorchcv": Layout(
        shortcut="projection",
        classifier="output",
        projection=("identity_conv.conv", "identity_conv.bn"),
        statistics={None: _CIFAR10},
        stem=("features.init_block.conv", "features.init_block.bn"),
        block="features.stage{stage}.unit{unit}.{module}",
        conv=("body.conv{number}.conv", "body.conv{number}.bn"),
    ),
}


def layout_named(name: str) -> Layout:
    """Returns a layout by name: `"akamaster"`, `"chenyaofo"` or `"pytorchcv"`.

    Raises:
        ValueError: If there is none of that name.
    """
    check_choice("layout", name, LAYOUTS)
    return LAYOUTS[name]
