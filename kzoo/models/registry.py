"""Models by name."""

import fnmatch
from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack

from kzoo.arguments import boolean, text
from kzoo.choices import check_choice
from kzoo.models.arguments import Arguments

if TYPE_CHECKING:
    import keras


class Constructor(Protocol):
    """A function that builds a model, such as `kzoo.resnet20`."""

    __name__: str

    def __call__(self, **arguments: Unpack[Arguments]) -> "keras.Model":
        """Builds the model."""


_REGISTRY: dict[str, Constructor] = {}
_DOCUMENTATION = """{about}

    Args:
        **arguments: As for `kzoo.resnet`.

    Returns:
        A functional `keras.Model`.

    Example:
        >>> kzoo.{name}(classes=100).output_shape{run}
        (None, 100)
    """


def named(name: str, about: str, build: Literal["resnet", "wide_resnet"], *sizes: int, **settings: Any) -> Constructor:
    """Makes the function that `kzoo.models.named` has under a name, and registers it.

    Args:
        name: String, the function's name and, where there are settings, the default of the model's.
        about: String, the first sentence of the function's docstring.
        build: Name of the function of `kzoo.models.residual` that builds the model.
        *sizes: Integers, its positional arguments: the depth, for a wide network the width, too.
        **settings: Its defaults where they are not those of `build`.

    Returns:
        The function. It takes the arguments of `resnet`, and can be pickled.
    """
    defaults = {"name": name, **settings} if settings else {}

    def function(**arguments: Unpack[Arguments]) -> "keras.Model":
        from kzoo.models import residual

        made: keras.Model = getattr(residual, build)(*sizes, **{**defaults, **arguments})
        return made

    function.__name__ = function.__qualname__ = name
    function.__module__ = "kzoo.models.named"  # pickle looks for it there
    run = "" if build == "resnet" and sizes[0] < 60 else "  # takes seconds  # doctest: +SKIP"
    function.__doc__ = _DOCUMENTATION.format(about=about, name=name, run=run)
    _REGISTRY[name] = function
    return function


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Lists the names that `create_model` takes, in the order of the papers.

    Args:
        pattern: String, what the names must match, with `*` for any letters and `?` for one. Defaults to `"*"`.
        pretrained: Boolean, whether to list only models of which kzoo knows a preset, in the package or published.
            Defaults to `False`.

    Returns:
        A list of strings.

    Raises:
        ValueError: If an argument is something else.

    Example:
        >>> kzoo.list_models("plain*")
        ['plain20', 'plain32', 'plain44', 'plain56', 'plain110']
    """
    text(pattern, "pattern")
    found = [name for name in _REGISTRY if fnmatch.fnmatchcase(name, pattern)]
    if boolean(pretrained, "pretrained"):
        from kzoo.presets import models_with_presets

        there = models_with_presets()
        found = [name for name in found if name in there]
    return found


def constructor(name: str) -> Constructor:
    """Returns the function that builds the model of that name.

    Raises:
        ValueError: If there is none; the message suggests the nearest name.
    """
    check_choice("name", name, _REGISTRY)
    return _REGISTRY[name]


def create_model(name: str, /, **arguments: Unpack[Arguments]) -> "keras.Model":
    """Builds a model by its name.

    Args:
        name: String, one of `list_models()`.
        **arguments: As for `resnet`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If there is no such model, or an argument is none of those of `resnet`.

    Example:
        >>> kzoo.create_model("resnet20_v2", classes=100).output_shape
        (None, 100)
    """
    return constructor(name)(**arguments)
