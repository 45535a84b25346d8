"""A training that one backend left goes on on another."""

import itertools

import numpy as np
import pytest
from backends import BACKENDS, run_on

pytestmark = pytest.mark.cross

TRAIN = """
import signal, sys
from pathlib import Path
import numpy as np, kzoo
from kzoo.errors import TrainingInterrupted
from kzoo.training.session import Session

folder, name, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
random = np.random.RandomState(0)
train, other = (
    kzoo.Split(random.randint(0, 256, (count, 8, 8, 3)).astype(np.uint8), np.arange(count) % 3) for count in (160, 32)
)
data = kzoo.Dataset("noise", ("a", "b", "c"), train, other, other, flip=True)
recipe = kzoo.recipe("default").override(epochs=5, batch_size=16, patience=0, precision="float64", learning_rate=0.02)
kzoo.set_precision("float64")
end = Session.on_train_batch_end

def stop(self, batch, logs=None):
    if self.epoch * 10 + self._first + batch + 1 == steps:
        self.keeper.asked = signal.SIGINT
    end(self, batch, logs)

Session.on_train_batch_end = stop
model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3, dropout=0.2, seed=1)
try:
    run = kzoo.fit(model, data, recipe, run_dir=folder / name, resume=True, verbose=0)
    np.savez(folder / f"{name}.npz", losses=[row["val_loss"] for row in run.history], *model.get_weights())
except TrainingInterrupted:
    pass
"""
RING = [*zip(BACKENDS, BACKENDS[1:] + BACKENDS[:1], strict=True)]
OTHERS = [pair for pair in itertools.permutations(BACKENDS, 2) if pair not in RING]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_on("torch", TRAIN, folder, "undisturbed", 0)
    return dict(np.load(folder / "undisturbed.npz"))


@pytest.mark.parametrize(
    ("first", "second"), [*RING, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)]
)
def test_training_goes_on_on_another_backend(first, second, undisturbed, tmp_path):
    run_on(first, TRAIN, tmp_path, "run", 20)
    run_on(second, TRAIN, tmp_path, "run", 0)
    resumed = dict(np.load(tmp_path / "run.npz"))
    assert resumed.keys() == undisturbed.keys()
    furthest = max(np.abs(resumed[name] - undisturbed[name]).max() for name in undisturbed)
    print(f"{first} to {second}: {furthest:.2g}")
    assert furthest <= 1e-9
