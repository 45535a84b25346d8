"""Run directories of strangers: no command runs, imports, reads or writes what they name."""

import json
import shutil

import keras
import pytest

import kzoo


@keras.saving.register_keras_serializable(package="strangers")
class Twice(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def layer(kind, module="keras.layers", **config):
    return {"module": module, "class_name": kind, "registered_name": None, "config": config}


def attacks(folder):
    """Layers that wrote a file, read one or imported a module while `kzoo predict` printed normal answers."""
    plot = {"module": "keras.utils", "class_name": "function", "config": "plot_model", "registered_name": None}
    return {
        "plot": layer("Lambda", function=plot, arguments={"to_file": str(folder / "written.png")}, name="plot"),
        "saved model": layer("TFSMLayer", filepath=str(folder)),
        "vocabulary": layer("StringLookup", vocabulary=str(folder / "written.txt")),
        "module": layer("Dense", module="keras_nlp.strangers"),
        "registered": {**layer("Twice", module="nowhere"), "registered_name": "strangers>Twice"},
    }


ATTACKS = ("plot", "saved model", "vocabulary", "module", "registered")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, colours):
    dataset = kzoo.load_dataset(colours, image_size=8)
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    recipe = kzoo.recipe("default").override(epochs=1, patience=0)
    directory = tmp_path_factory.mktemp("runs") / "run"
    return kzoo.fit(keras.Sequential(layers), dataset, recipe, run_dir=directory, verbose=0).directory


@pytest.fixture
def run_of_a_stranger(whole_run, tmp_path, request, monkeypatch):
    """A copy of the run with one more layer in its model."""
    directory = tmp_path / "run"
    shutil.copytree(whole_run, directory)
    config = json.loads((directory / "config.json").read_text())
    config["model"]["architecture"]["config"]["layers"].insert(1, attacks(tmp_path)[request.param])
    (directory / "config.json").write_text(json.dumps(config))
    (tmp_path / "keras_nlp").mkdir()
    (tmp_path / "keras_nlp" / "__init__.py").write_text("raise AssertionError('a stranger ran this')")
    monkeypatch.syspath_prepend(tmp_path)
    return directory


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("run_of_a_stranger", ATTACKS, indirect=True)
@pytest.mark.parametrize("command", ["predict", "evaluate", "evaluate others", "export"])
def test_command_refuses_the_model_of_a_stranger(command, run_of_a_stranger, colours, tmp_path, program):
    before = files_in(tmp_path)
    arguments = {
        "predict": ["predict", run_of_a_stranger, colours / "test" / "red" / "0.png"],
        "evaluate": ["evaluate", run_of_a_stranger],
        "evaluate others": ["evaluate", run_of_a_stranger, "--data", colours],
        "export": ["export", run_of_a_stranger, "--out", tmp_path / "out"],
    }[command]
    status, said = program(*arguments)
    assert status == 1
    assert said.startswith(f"kzoo: {run_of_a_stranger / 'config.json'} does not hold a model: An architecture must be")
    assert said.count("\n") <= 1
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("run_of_a_stranger", ["registered"], indirect=True)
def test_caller_may_name_a_class(run_of_a_stranger, colours):
    given = {"Twice": Twice}
    assert isinstance(kzoo.Run(run_of_a_stranger).load_model(given).layers[0], Twice)
    assert kzoo.evaluate_saved(run_of_a_stranger, custom_objects=given).images == 24
    file = colours / "test" / "red" / "0.png"
    assert len(kzoo.predict_files(kzoo.Run(run_of_a_stranger), file, custom_objects=given)) == 1
