"""The commands `kzoo recipe ...`."""

import dataclasses
from typing import Annotated, Any

import typer

from kzoo.cli.options import AsJson, Settings
from kzoo.cli.showing import show, table
from kzoo.training.known_recipes import find_recipe, list_recipes
from kzoo.training.recipe_files import changed, parse_settings
from kzoo.training.recipes import Recipe

app = typer.Typer(help="How to train: recipes, and their files.", no_args_is_help=True)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the recipes: what `--recipe` takes, beside files and runs."""
    names = list_recipes()
    rows = table("name", "epochs", "batch size", "optimizer", "peak rate", "schedule")
    for name in names:
        recipe = find_recipe(name)
        rows.add_row(
            name, *map(str, (recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.learning_rate, recipe.schedule))
        )
    show(names, as_json, rows)


@app.command("show")
def show_command(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, its file, or a run directory.")],
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Print a recipe as a TOML file, which `--recipe` takes: each field, with what it means."""
    found = recipe_with(recipe, settings, "recipe")
    show(dataclasses.asdict(found), as_json, found.to_toml().rstrip("\n"), wrap=False)


def recipe_with(recipe: str, settings: list[str] | None, argument: str = "--recipe", **options: Any) -> Recipe:
    """Returns the recipe that a command is to take, with what `--set` and options that are given change in it."""
    found = changed(find_recipe(recipe, argument), parse_settings(settings or ()))
    return found.override(**{name: value for name, value in options.items() if value is not None})
