"""What every constructor of a model takes."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from kzoo.choices import Normalization, Order, Shortcut, hint


class Arguments(TypedDict, total=False):
    """What every constructor takes; see `resnet`."""

    weights: str | Path | None
    include_top: bool
    input_shape: Sequence[int | None]
    pooling: Literal["avg", "max"] | None
    classes: int
    classifier_activation: str | None
    include_preprocessing: bool
    order: Order
    shortcut: Shortcut
    normalization: Normalization
    dropout: float
    zero_init_residual: bool
    seed: int
    name: str


def check_arguments(arguments: Mapping[str, Any], *, without: Collection[str] = ()) -> None:
    """Raises a `ValueError` if one of the arguments is none that a constructor takes.

    Args:
        arguments: What the caller gave by name.
        without: Names that this caller may not give. Defaults to `()`.
    """
    known = [name for name in Arguments.__annotations__ if name not in without]
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(
                f"A model's arguments here must be among {', '.join(known)}. "
                f"Received: {name}={value!r}.{hint(name, known)}"
            )
