"""What is saved as a preset is loaded again, the same, with all that it says."""

import json

import keras
import numpy as np
import pytest

import kzoo
from kzoo.presets.config import PresetConfig
from kzoo.presets.construction import Construction

SIZE = (8, 8, 3)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def images(count=4):
    return np.random.RandomState(0).randint(0, 256, (count, *SIZE)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    return kzoo.resnet(8, classes=3, seed=1, input_shape=SIZE)


@pytest.fixture
def saved(model, tmp_path):
    decoding = kzoo.Decoding(SIZE[:2], resize="pad", background=0)
    about = {"data": {"name": "letters"}, "test": {"accuracy": 0.75}, "seed": 1}
    names = ["a", "b", "c"]
    return kzoo.save_preset(
        model, tmp_path / "preset", class_names=names, decoding=decoding, temperature=1.5, about=about
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: kzoo.resnet(
            8, input_shape=(None, None, 1), classifier_activation="softmax", dropout=np.float32(0.1), name="other"
        ),
        lambda: kzoo.resnet(8, order="preact", include_preprocessing=False, input_shape=SIZE),
        lambda: kzoo.resnet(8, order="additive", normalization=None, input_shape=SIZE),
        lambda: kzoo.resnet(8, include_top=False, pooling="max", shortcut="none", input_shape=SIZE),
        lambda: kzoo.wide_resnet(10, 2, input_shape=SIZE, seed=2**64 - 1),
    ],
)
def test_every_form_of_a_model_comes_back(build, tmp_path):
    built = build()
    loaded = kzoo.load_preset(kzoo.save_preset(built, tmp_path / "preset"))
    assert loaded.construction == built.construction
    assert (loaded.name, loaded.input_shape, loaded.output_shape) == (built.name, built.input_shape, built.output_shape)
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in built.weights]
    assert same(loaded, built)


def test_preset_says_what_was_saved(saved, model):
    preset = kzoo.Preset(saved)
    assert preset.class_names == ("a", "b", "c")
    assert preset.temperature == 1.5
    assert preset.decoding() == kzoo.Decoding(SIZE[:2], resize="pad", background=0)
    assert preset.config.about["seed"] == 1
    loaded = preset.load_model()
    assert loaded.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(loaded.predict(images(), verbose=0), model.predict(images(), verbose=0))


def test_weights_argument_takes_the_folder_and_its_sizes(saved, model):
    built = kzoo.resnet(8, weights=saved)
    assert built.input_shape == (None, *SIZE)
    assert built.class_names == ("a", "b", "c")
    assert same(built, model)
    features = kzoo.resnet(8, weights=saved, include_top=False, pooling="avg", dropout=0.1)
    assert features.output_shape == (None, 64)
    assert features.class_names is None
    with pytest.raises(ValueError, match="are for resnet8, with depth=8. Received: depth=14"):
        kzoo.resnet(14, weights=saved)
    with pytest.raises(ValueError, match="are for resnet8, with constructor='resnet'. Received: constructor='wide"):
        kzoo.wide_resnet(10, 1, weights=saved)


def test_same_model_gives_the_same_bytes(model, saved, tmp_path):
    again = kzoo.save_preset(kzoo.load_preset(saved), tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()


def test_precision_of_the_model_comes_back(tmp_path):
    with kzoo.precision("float64"):
        built = kzoo.resnet(8, input_shape=SIZE)
    folder = kzoo.save_preset(built, tmp_path / "preset")
    assert json.loads((folder / "config.json").read_text())["precision"] == "float64"
    loaded = kzoo.load_preset(folder)
    assert {weight.dtype for weight in loaded.trainable_weights} == {"float64"}
    assert keras.config.floatx() == "float32"
    assert same(loaded, built)
    assert {weight.dtype for weight in kzoo.resnet(8, weights=folder).trainable_weights} == {"float32"}


def test_preset_is_replaced_and_nothing_else(model, saved, tmp_path):
    (saved / "README.md").write_text("mine")
    kzoo.save_preset(model, saved)
    assert kzoo.Preset(saved).class_names is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="A preset needs a folder that is new, empty or a preset"):
        kzoo.save_preset(model, tmp_path / "other")
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="new, empty or a preset"):
        kzoo.save_preset(model, saved)
    with pytest.raises(FileExistsError, match="needs the name of a folder"):
        kzoo.save_preset(model, tmp_path / "other" / "thesis.tex")


def test_model_that_kzoo_did_not_build_is_refused(tmp_path):
    layers = [keras.Input(SIZE), keras.layers.Flatten(), keras.layers.Dense(2)]
    with pytest.raises(ValueError, match="`model` must be as a constructor of kzoo has built it"):
        kzoo.save_preset(keras.Sequential(layers), tmp_path / "preset")


def test_activation_that_no_file_can_say_is_refused(tmp_path):
    built = kzoo.resnet(8, input_shape=SIZE, classifier_activation=keras.activations.softmax)
    with pytest.raises(ValueError, match="A preset must be one that can be loaded again"):
        kzoo.save_preset(built, tmp_path / "preset")
    assert not (tmp_path / "preset").exists()


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    built = kzoo.resnet(8, input_shape=SIZE)
    built.get_layer("stem_conv").kernel.assign(np.full((3, 3, 3, 16), np.nan))
    with pytest.raises(ValueError, match=r"stem_conv/kernel of 'resnet8' must hold finite numbers"):
        kzoo.save_preset(built, tmp_path / "preset")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": ["a", "b"]}, "`class_names` must be 3 strings"),
        ({"class_names": ["a", "b", "b"]}, "'class_names' must be 3 different texts"),
        ({"temperature": 0}, "'temperature' must be null, or a number above 0"),
        ({"about": {"a": object()}}, "A preset must be one that can be loaded again"),
        ({"decoding": kzoo.Decoding((9, 9))}, "`decoding` must give what the model takes"),
    ],
)
def test_what_cannot_be_said_is_refused(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        kzoo.save_preset(model, tmp_path / "preset", **arguments)


@pytest.mark.parametrize(
    ("construction", "name"),
    [
        (Construction.of("resnet", 20), "resnet20"),
        (Construction.of("resnet", 20, shortcut="projection"), "resnet20"),
        (Construction.of("resnet", 20, order="preact"), "resnet20_v2"),
        (Construction.of("resnet", 20, shortcut="none"), "plain20"),
        (Construction.of("wide_resnet", 16, 4), "wide_resnet16_4"),
    ],
)
def test_construction_knows_the_name_of_the_zoo(construction, name):
    assert construction.model == name
    assert Construction.from_json(json.loads(json.dumps(construction.to_json()))) == construction


@pytest.mark.parametrize("name", ["resnet20", "resnet20_v2", "plain20", "wide_resnet16_4"])
def test_models_of_the_zoo_know_their_name(name):
    assert kzoo.create_model(name, input_shape=SIZE).construction.model == name


def test_model_forgets_its_construction_when_it_is_changed():
    built = kzoo.resnet(8, input_shape=SIZE)
    assert kzoo.fold_batch_norm(built).construction is None


def test_configuration_is_the_same_when_it_is_read_again(saved):
    config = PresetConfig.read(saved)
    assert PresetConfig.from_json(json.loads(config.text())) == config


def test_files_are_predicted_by_a_preset_with_its_temperature(saved, tmp_path):
    from PIL import Image

    Image.fromarray(images()[0]).save(tmp_path / "photo.png")
    preset = kzoo.Preset(saved)
    (found,) = kzoo.predict_files(preset, tmp_path / "photo.png", top=3)
    logits = preset.load_model().predict(images()[:1], verbose=0)[0].astype("float64")
    expected = np.exp(logits / 1.5) / np.exp(logits / 1.5).sum()
    assert found.classes == tuple("abc"[i] for i in np.argsort(-logits))
    np.testing.assert_allclose(found.probabilities, np.sort(expected)[::-1], rtol=1e-5)


def test_names_of_predictions_come_from_the_model_or_are_asked_for(saved, model):
    logits = model.predict(images(), verbose=0)
    decoded = kzoo.decode_predictions(logits, top=1, class_names=kzoo.load_preset(saved))
    assert {row[0][0] for row in decoded} <= {"a", "b", "c"}
    with pytest.raises(ValueError, match="`class_names` must be the names of the 3 classes.* which does not know them"):
        kzoo.decode_predictions(logits, class_names=model)
    with pytest.raises(ValueError, match="`class_names` must be the names of the 3 classes.*class_names=None"):
        kzoo.decode_predictions(logits)


def test_preset_is_evaluated_on_data_of_its_classes_alone(saved):
    labels = [0, 1, 2, 0]
    parts = {name: kzoo.Split(images(), labels) for name in ("train", "validation", "test")}
    found = kzoo.evaluate_saved(preset=saved, dataset=kzoo.Dataset("letters", ("a", "b", "c"), **parts, flip=False))
    assert found.images == 4
    with pytest.raises(ValueError, match="must have the 3 classes of .*preset, in their order"):
        kzoo.evaluate_saved(preset=saved, dataset=kzoo.Dataset("letters", ("a", "c", "b"), **parts, flip=False))
    with pytest.raises(ValueError, match="Expected either a run, or a preset with data"):
        kzoo.evaluate_saved(preset=saved)


def test_run_directory_is_no_preset(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model": {"architecture": {}}}))
    with pytest.raises(ValueError, match=r"config.json must be that of a preset.*kzoo preset save RUN DIR"):
        kzoo.load_preset(tmp_path)
    with pytest.raises(FileNotFoundError, match="Expected a preset, a folder with config.json and model.safetensors"):
        kzoo.load_preset(tmp_path / "..")
