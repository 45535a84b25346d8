"""What one backend writes the others read; what all draw is the same."""

import itertools

import numpy as np
import pytest
from backends import BACKENDS, run_on

pytestmark = pytest.mark.cross

WRITE = """
import sys, keras, numpy as np, kzoo
path, images = sys.argv[1], np.load(sys.argv[2])
model = kzoo.resnet20(seed=1, dropout=0.1, shortcut="projection")
model.compile(kzoo.SGD(0.01, 0.9), "categorical_crossentropy")
model.fit(images[:16], np.eye(10)[np.arange(16) % 10], batch_size=8, epochs=1, shuffle=False, verbose=0)
model.save(path)
np.save(path + ".npy", model.predict(images, verbose=0))
"""

READ = """
import sys, keras, numpy as np, kzoo
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""

HASHES = """
import hashlib, numpy as np, kzoo
digest = lambda arrays: hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
dataset = kzoo.load_dataset("digits")
batches = kzoo.Batches(dataset.train, 10, batch_size=32, shuffle=True, augmentation=kzoo.Augmentation(flip=False))
print(digest(kzoo.resnet20(seed=0).get_weights()), digest(batches.batch(epoch=3, index=5)))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.RandomState(0).randint(0, 256, (32, 32, 32, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def written(images, tmp_path_factory):
    """A trained `.keras` from each backend, with its own predictions beside it."""
    folder = tmp_path_factory.mktemp("written")
    for backend in BACKENDS:
        run_on(backend, WRITE, folder / f"{backend}.keras", images)
    return folder


@pytest.mark.parametrize(("writer", "reader"), [*itertools.product(BACKENDS, BACKENDS)])
def test_saved_model_predicts_the_same_on_every_backend(writer, reader, written, images, tmp_path):
    run_on(reader, READ, written / f"{writer}.keras", images, tmp_path / "read.npy")
    expected, actual = np.load(written / f"{writer}.keras.npy"), np.load(tmp_path / "read.npy")
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def test_initial_weights_and_batches_are_the_same_bytes():
    assert len({run_on(backend, HASHES) for backend in BACKENDS}) == 1
