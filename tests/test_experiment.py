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
        kzoo.train("resnet20", dataset, run_dir=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_evaluate_saved_names_the_nearest_split():
    message = "one of train, validation, test. Received: split='tests'. Did you mean 'test'?"
    with pytest.raises(ValueError, match=message):
        kzoo.evaluate_saved("run", split="tests")
