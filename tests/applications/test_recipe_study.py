import importlib.util
import subprocess
import sys
from pathlib import Path

import kzoo

PROGRAM = Path(__file__).parents[2] / "applications" / "recipe_study.py"


def study():
    spec = importlib.util.spec_from_file_location("recipe_study", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recipe_study_leaves_out_one_ingredient_a_row():
    recipe = kzoo.recipe("default").override(nesterov=False, clip_norm=0.5, bias_rate=4.0)
    rows = study().rows_of(recipe, "mine")
    assert list(rows)[:5] == ["mine", "default", "chenyaofo", "akamaster", "he2015"]
    assert "mine without Nesterov" not in rows  # there is none
    assert rows["mine without bias_rate"] == recipe.override(bias_rate=1.0)
    assert rows["mine without clip_norm"].clip_norm is None
    assert rows["mine without clip_norm"].bias_rate == 4
    assert rows["mine without crops"] == recipe.override(crop_padding=0)


def test_recipe_study_smoke_trains_once_and_writes_its_tables(tmp_path):
    command = [sys.executable, str(PROGRAM), "--smoke", "--recipe", "default", "--out", str(tmp_path)]
    for trainings in (2, 0):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("seed 0") == trainings
    table = (tmp_path / "table.md").read_text()
    assert done.stdout.endswith(table)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == ["| default", "| chenyaofo"]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3
