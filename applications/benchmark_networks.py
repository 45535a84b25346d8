"""The networks that `benchmark.py` measures, by name, for those who build them without kzoo."""

import argparse
import re
from typing import NamedTuple

STEM = 16  # filters


class Sizes(NamedTuple):
    """What a name stands for: three stages of so many blocks."""

    blocks: int
    filters: list[int]  # of the stages
    preactivated: bool  # He et al., 2016, with projections for shortcuts; if not, He et al., 2015, with option A


def sizes(name: str) -> Sizes:
    """Returns the sizes of `resnet20` and the like, or of `wide_resnet16_4` and the like."""
    if found := re.fullmatch(r"resnet(\d+)", name):
        return Sizes((int(found[1]) - 2) // 6, [16, 32, 64], preactivated=False)
    if found := re.fullmatch(r"wide_resnet(\d+)_(\d+)", name):
        width = int(found[2])
        return Sizes((int(found[1]) - 4) // 6, [16 * width, 32 * width, 64 * width], preactivated=True)
    raise ValueError(f"Expected a name such as resnet20 or wide_resnet16_4. Received: {name}.")


def network(name: str) -> str:
    """Returns the name of a network on a command line, if it is one of these."""
    try:
        sizes(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name
