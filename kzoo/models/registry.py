"""Models by name."""

import difflib
from collections.abc import Callable
from typing import Unpack

import keras

from kzoo.models import named
from kzoo.models.resnet import Arguments

_CONSTRUCTORS: tuple[Callable[..., keras.Model], ...] = (
    named.resnet20,
    named.resnet32,
    named.resnet44,
    named.resnet56,
    named.resnet110,
    named.resnet1202,
    named.resnet20_v2,
    named.resnet32_v2,
    named.resnet44_v2,
    named.resnet56_v2,
    named.resnet110_v2,
    named.resnet1202_v2,
    named.plain20,
    named.plain32,
    named.plain44,
    named.plain56,
    named.plain110,
    named.wide_resnet16_4,
    named.wide_resnet28_10,
)
_REGISTRY = {constructor.__name__: constructor for constructor in _CONSTRUCTORS}


def list_models() -> list[str]:
    """Lists the names that `create_model` takes, in the order of the papers."""
    return list(_REGISTRY)


def constructor(name: str) -> Callable[..., keras.Model]:
    """Returns the function that builds the model of that name.

    Raises:
        ValueError: If there is none; the message suggests the nearest name.
    """
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`name` must be one of {', '.join(_REGISTRY)}. Received: name={name!r}.{hint}")
    return _REGISTRY[name]


def create_model(name: str, /, **arguments: Unpack[Arguments]) -> keras.Model:
    """Builds a model by its name.

    Args:
        name: String, one of `list_models()`.
        **arguments: As for `resnet`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If there is no such model, or an argument is none of those of `resnet`.

    Example:
        >>> kzoo.create_model("resnet110_v2", classes=100).output_shape
        (None, 100)
    """
    return constructor(name)(**arguments)
