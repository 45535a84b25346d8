import keras
import numpy as np
import pytest

import kzoo


@pytest.fixture
def dataset():
    split = kzoo.Split(np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2)
    return kzoo.Dataset("black", ("a", "b"), split, split, split, flip=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"foo": 1}, "must be among weights, .*Received: foo=1."),
        ({"dropot": 0.1}, "Received: dropot=0.1. Did you mean 'dropout'?"),
        ({"classes": 2}, "Received: classes=2."),  # the dataset decides
        ({"input_shape": (8, 8, 3)}, "Received: input_shape="),
    ],
)
def test_train_names_the_arguments_of_a_model_that_it_takes(arguments, message, dataset, tmp_path):
    with pytest.raises(ValueError, match=message):
        kzoo.train("resnet8", dataset, run_dir=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_evaluate_saved_names_the_nearest_split():
    message = "one of train, validation, test. Received: split='tests'. Did you mean 'test'?"
    with pytest.raises(ValueError, match=message):
        kzoo.evaluate_saved("run", split="tests")


def test_train_builds_the_model_with_the_zeros_that_its_recipe_asks_for(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    split = kzoo.Split(images, np.arange(4) % 2)
    dataset = kzoo.Dataset("noise", ("a", "b"), split, split, split, flip=False)
    recipe = kzoo.Recipe(epochs=1, batch_size=4, learning_rate=1e-30, patience=None, zero_init_residual=True)
    run = kzoo.train("resnet8", dataset, recipe, run_dir=tmp_path / "run", verbose=0)
    model = run.load_model()
    scales = [keras.ops.convert_to_numpy(model.get_layer(f"stage1_block1_norm{i}").gamma) for i in (1, 2)]
    np.testing.assert_allclose(scales, [[1] * 16, [0] * 16], atol=1e-6)
    assert run.config["model"]["arguments"] == {"zero_init_residual": True}
    assert run.config["recipe"]["zero_init_residual"]


def test_fit_refuses_a_model_without_the_zeros_that_its_recipe_asks_for(dataset):
    recipe = kzoo.Recipe(zero_init_residual=True)
    with pytest.raises(ValueError, match="must have been built so: .*Received: 'resnet8', without a scale of 0"):
        kzoo.fit(kzoo.resnet(8, input_shape=(8, 8, 3), classes=2), dataset, recipe)


@pytest.mark.parametrize("flip", [True, False])
def test_mirror_images_are_evaluated_only_where_a_mirror_changes_no_class(flip, tmp_path):
    split = kzoo.Split(np.random.RandomState(0).randint(0, 256, (4, 8, 8, 3)).astype(np.uint8), np.arange(4) % 2)
    dataset = kzoo.Dataset("noise", ("a", "b"), split, split, split, flip=flip)
    kzoo.save_weights(kzoo.resnet8(input_shape=(8, 8, 3), classes=2), tmp_path / "a.weights.h5")
    given = {"model": "resnet8", "weights": tmp_path / "a.weights.h5", "dataset": dataset, "tta": "mirror"}
    if flip:
        assert kzoo.evaluate_saved(**given).tta == "mirror"
    else:
        with pytest.raises(ValueError, match="needs data whose classes a mirror does not change: .*with flip=False"):
            kzoo.evaluate_saved(**given)
