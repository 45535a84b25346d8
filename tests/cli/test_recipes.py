import json
import tomllib

import pytest
from commands import kzoo_command, printed_json

import kzoo


def test_recipe_list_names_the_recipes():
    assert printed_json("recipe", "list") == kzoo.list_recipes()
    assert all(name in kzoo_command("recipe", "list").output for name in kzoo.list_recipes())


def test_recipe_show_prints_a_file_that_reads_back(tmp_path):
    printed = kzoo_command("recipe", "show", "he2015").output
    path = tmp_path / "copy.toml"
    path.write_text(printed)
    assert kzoo.recipe(path) == kzoo.recipe("he2015")
    assert kzoo_command("recipe", "show", path).output == printed


def test_recipe_show_takes_settings():
    printed = kzoo_command("recipe", "show", "he2015", "--set", "epochs=3", "--set", "schedule=cosine").output
    found = tomllib.loads(printed)
    assert (found["epochs"], found["schedule"], found["patience"]) == (3, "cosine", "none")


def test_train_takes_a_file_and_settings(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "akamaster"\nepochs = 1\nbatch_size = 512\n')
    options = ["--image-size", "8", "--run", tmp_path / "run", "--quiet"]
    kzoo_command("train", "resnet8", "--recipe", path, "--set", "label_smoothing=0.25", *options)
    recipe = json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]
    assert recipe == json.loads(json.dumps(kzoo.Run(tmp_path / "run").recipe.record()))
    assert (recipe["batch_size"], recipe["nesterov"], recipe["label_smoothing"]) == (512, False, 0.25)
    shown = kzoo_command("recipe", "show", tmp_path / "run").output
    assert tomllib.loads(shown)["label_smoothing"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "mine.toml"], "Expected a file. Received: mine.toml"),
        (["--set", "epoch=3"], "Received: epoch. Did you mean 'epochs'?"),
        (["--set", "epochs=x"], "`epochs` must be an integer. Received: epochs='x'."),
        (["--set", "epochs"], "`--set` must be field=value"),
    ],
)
def test_train_says_what_is_wrong_with_a_recipe(arguments, message):
    with pytest.raises((ValueError, OSError), match=message):
        kzoo_command("train", "resnet8", *arguments)
