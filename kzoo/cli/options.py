"""Options that commands share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from kzoo.choices import ResizeMode, check_choice
from kzoo.cli.showing import keep_for_json
from kzoo.models.registry import list_models
from kzoo.training.known_recipes import list_recipes


def one_of(choices: Iterable[str], help: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    """Returns an option that takes one of a few names.

    Help and completion list all of them, and a misspelled one is told the nearest.

    Args:
        choices: The names.
        help: String, what the option is for.
        *names: Strings, what the option is called, if not as its parameter.
        **settings: Further arguments of `typer.Option`.
    """
    choices = tuple(choices)

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    def check(param: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None:
            check_choice(param.opts[0], value, choices)
        return value

    return typer.Option(
        *names, help=help, metavar="|".join(choices), autocompletion=complete, callback=check, **settings
    )


def several_of(choices: Iterable[str], help: str, *names: str, default: str) -> Any:  # noqa: A002
    """Returns an option that takes some of a few names, each given by the option once more.

    Args:
        choices: The names.
        help: String, what the option is for.
        *names: Strings, what the option is called, if not as its parameter.
        default: String, what help shows as taken where none is given.
    """
    choices = tuple(choices)

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    def check(param: typer.CallbackParam, value: list[str] | None) -> list[str] | None:
        for one in value or []:
            check_choice(param.opts[0], one, choices)
        return value

    return typer.Option(
        *names, help=help, metavar="|".join(choices), autocompletion=complete, callback=check, show_default=default
    )


def _complete_model(incomplete: str) -> list[str]:
    return [name for name in list_models() if name.startswith(incomplete)]


def _complete_recipe(incomplete: str) -> list[str]:
    return [name for name in list_recipes() if name.startswith(incomplete)]


def model_option(help: str) -> Any:  # noqa: A002
    """Returns an option that takes the name of a model; completion lists them."""
    return typer.Option(help=help, autocompletion=_complete_model)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=keep_for_json)]
Data = Annotated[str, typer.Option(help="Name of a dataset, or path of a folder or zip.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of prepared datasets.", show_default="~/tensorflow_datasets")
]
Dropout = Annotated[float, typer.Option(help="Fraction dropped inside each block.")]
Channels = Annotated[int, typer.Option(help="1: grey, 3: RGB, 4: RGB with opacity.")]
Balance = Annotated[bool, typer.Option("--balance", help="Each class counts alike in the loss.")]
Flip = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="Mirror images at random.", show_default="as the data say")
]
Resize = Annotated[str, one_of(get_args(ResizeMode), "How images of other proportions get that size.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out files that cannot be read.")]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to a square of that many pixels.")]
ModelName = Annotated[
    str, typer.Argument(help="Name of a model: `kzoo list` shows them.", autocompletion=_complete_model)
]
Seed = Annotated[int, typer.Option(help="Of weights, batches and masks.")]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="How to train: a recipe's file, a run to train as, or a name.",
        metavar=f"FILE.toml|RUN|{'|'.join(list_recipes())}",
        autocompletion=_complete_recipe,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Another value for a field of the recipe: `kzoo recipe show` names them.", metavar="FIELD=VALUE"
    ),
]
