"""What the documents name is there."""

import dataclasses
import re
from pathlib import Path

import pytest

import kzoo
from kzoo.choices import STUDIES

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?", (ROOT / "docs" / "faults.md").read_text())


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_table_of_faults_names_tests(file, name):
    assert not name or f"def {name}(" in (ROOT / file).read_text()
    assert (ROOT / file).is_file()


def test_table_of_faults_is_long():
    assert len(NAMED) > 30


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(kzoo.Recipe)])
def test_field_of_a_recipe_is_described(field):
    assert any(f"`{field}" in file.read_text() for file in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("name", kzoo.list_recipes())
def test_recipe_is_described(name):
    assert f"| `{name}` |" in (ROOT / "docs" / "recipes.md").read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_study_is_described(name):
    assert f"`kzoo study {name}`" in (ROOT / "docs" / "techniques.md").read_text()


def test_recipe_in_the_documents_is_one(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    recipe = kzoo.recipe(tmp_path / "mine.toml")
    assert (recipe.optimizer, recipe.optimizer_arguments, recipe.patience) == ("adamw", {"beta_2": 0.95}, None)
