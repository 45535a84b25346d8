import dataclasses
import json

import pytest

import kzoo
from kzoo.training.recipe_files import changed, meanings_of_fields, parse_settings, to_toml


def written(folder, text):
    """Returns the path of a recipe's file with a text."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", kzoo.list_recipes())
def test_recipe_reads_back_from_its_file(tmp_path, name):
    assert kzoo.recipe(written(tmp_path, kzoo.recipe(name).to_toml())) == kzoo.recipe(name)


def test_recipe_file_has_what_each_field_means_over_it():
    lines = kzoo.recipe("default").to_toml().splitlines()
    assert lines[lines.index("batch_size = 32") - 1] == "# Images a step."
    assert meanings_of_fields().keys() == {field.name for field in dataclasses.fields(kzoo.Recipe)}


def test_recipe_file_says_what_differs_from_its_base(tmp_path):
    path = written(tmp_path, 'base = "he2015"\nlearning_rate = 1\npatience = 3\n')
    expected = dataclasses.replace(kzoo.recipe("he2015"), learning_rate=1.0, patience=3)
    assert kzoo.recipe(path) == kzoo.recipe(str(path)) == expected
    assert kzoo.recipe(written(tmp_path, "")) == kzoo.recipe("default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "It must be TOML. Received: "),
        ("epochs = 3\nepochs = 4", "It must be TOML. Received: "),
        ("x = " + "[" * 5000, "It must be TOML. Received: "),
        (f"{'a.' * 300}a = 1", "It must have at most 200 objects within each other"),
        ("epoch = 3", "A recipe has the fields .* Received: epoch. Did you mean 'epochs'?"),
        ('base = "he2016"', "`base` must be one of default, .* Did you mean 'he2015'?"),
        ("base = 3", "`base` must be one of default, "),
        ("epochs = 0", "`epochs` must be at least 1. Received: epochs=0."),
        ('epochs = "none"', "`epochs` must be an integer. Received: epochs='none'."),
        ("epochs = 2026-11-27", "`epochs` must be an integer."),
        ("[epochs]\nx = 3", "`epochs` must be an integer."),
        ("milestones = { a = 0.5 }", "`milestones` must be a tuple of numbers."),
        ("learning_rate = nan", "`learning_rate` must be a finite number."),
        (f"epochs = 0x{'f' * 9000}", "does not hold a recipe."),
        ("# " + "x" * 70_000, "must be at most 65,536 bytes."),
    ],
)
def test_bad_recipe_file_is_told_by_its_name(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"(?s)mine\.toml .*{message}"):
        kzoo.recipe(written(tmp_path, text))


def test_recipe_file_that_is_no_text_or_not_there_is_told(tmp_path):
    path = tmp_path / "mine.toml"
    with pytest.raises(FileNotFoundError, match=r"mine\.toml"):
        kzoo.recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"mine\.toml does not hold a recipe. It must be TOML"):
        kzoo.recipe(path)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("epochs=3", 3),
        ("epochs = 3", 3),
        ("learning_rate=1e-3", 0.001),
        ("flip=false", False),
        ("schedule=cosine", "cosine"),
        ("schedule='cosine'", "cosine"),
        ("milestones=[0.5, 0.75]", [0.5, 0.75]),
        ("arguments={beta_1=0.8}", {"beta_1": 0.8}),
        ("teacher=a=b", "a=b"),
        ("teacher=", ""),
        ("teacher=3\nx=4", "3\nx=4"),
        (f"teacher={'[' * 5000}", "[" * 5000),
    ],
)
def test_setting_is_a_value_of_toml_or_else_a_text(given, value):
    (found,) = parse_settings([given]).values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("given", [["epochs"], ["=3"], ["epochs=3", "epochs=4"]])
def test_setting_without_a_field_or_of_one_twice_is_told(given):
    with pytest.raises(ValueError, match="`--set` must .* Received: "):
        parse_settings(given)


def test_none_is_a_word_for_fields_that_may_be_none():
    assert changed(kzoo.Recipe(), {"patience": "none"}).patience is None
    assert changed(kzoo.Recipe(), {"patience": 0}).patience is None


@pytest.mark.parametrize("text", ['a"b\\c', "a\nb\x7f\x00", "ü\N{GRINNING FACE}"])
def test_any_text_is_written_as_toml_has_it(text):
    @dataclasses.dataclass
    class Texts:
        key: object

    import tomllib

    assert tomllib.loads(to_toml(Texts({text: [text, 1e-5, 1e22, True, {}]}))) == {
        "key": {text: [text, 1e-5, 1e22, True, {}]}
    }


def test_run_has_its_recipe(tmp_path):
    recipe = dataclasses.replace(kzoo.recipe("akamaster"), epochs=3)
    (tmp_path / "config.json").write_text(json.dumps({"recipe": recipe.record()}))
    assert kzoo.recipe(tmp_path) == kzoo.Run(tmp_path).recipe == recipe


def test_run_whose_normalization_no_recipe_names_has_a_recipe(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"recipe": {"pixel_statistics": None, "epochs": 3}}))
    assert kzoo.recipe(tmp_path) == kzoo.Recipe(epochs=3)


@pytest.mark.parametrize("recipe", [{"epoch": 3}, {"epochs": "3"}, {"epochs": None}])
def test_run_without_a_valid_recipe_is_told_by_its_name(tmp_path, recipe):
    (tmp_path / "config.json").write_text(json.dumps({"recipe": recipe}))
    with pytest.raises(ValueError, match=r"config\.json does not hold a recipe. .*Received: epoch"):
        kzoo.recipe(tmp_path)


def test_a_name_comes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "config.json").write_text(json.dumps({"recipe": {"epochs": 3}}))
    assert kzoo.recipe("default") == kzoo.Recipe()
