import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("kzoo-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--target", folder, wheel)
    return folder


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_outside(site, *command):
    """Runs `command` away from the checkout, with the installed wheel before everything else; returns its output."""
    variables = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=site.parent, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kzoo"}
    assert {"kzoo/__init__.py", "kzoo/py.typed"} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_wheel_holds_every_module(wheel):
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "kzoo").rglob("*.py")}
    assert sources - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_wheel_holds_every_preset_of_the_package(wheel):
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "kzoo").rglob("pretrained/*/*/*")}
    assert presets - set(zipfile.ZipFile(wheel).namelist()) == set()
    assert len(presets) >= 3


def test_installed_wheel_builds_a_model_outside_the_checkout(site):
    code = "import kzoo; print(kzoo.__file__); print(kzoo.resnet20().output_shape)"
    file, shape = run_outside(site, sys.executable, "-c", code).splitlines()[-2:]
    assert Path(file) == site / "kzoo" / "__init__.py"
    assert shape == "(None, 10)"


def test_installed_program_lists_the_models(site):
    assert "resnet20" in run_outside(site, sys.executable, site / "bin" / "kzoo", "list").split()


def test_installed_doctor_names_the_backend(site):
    assert keras.config.backend() in run_outside(site, sys.executable, "-m", "kzoo.doctor")
