import keras
import pytest

import kzoo
from kzoo.training.callbacks import CallbackList

QUICK = kzoo.recipe("default").override(epochs=2, batch_size=8, patience=0)


class Counter(keras.callbacks.Callback):
    """Counts the steps that it is told of."""

    def __init__(self):
        super().__init__()
        self.train = self.test = 0

    def on_train_batch_end(self, batch, logs=None):
        self.train += "loss" in logs

    def on_test_batch_end(self, batch, logs=None):
        self.test += "loss" in logs


def conversions(monkeypatch, tiny, folder, batch_size):
    """Returns how often a training asks for the value of a tensor."""
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)
    count, convert = 0, keras.src.backend.convert_to_numpy

    def counted(tensor):
        nonlocal count
        count += 1
        return convert(tensor)

    with monkeypatch.context() as patch:
        patch.setattr(keras.src.backend, "convert_to_numpy", counted)
        kzoo.fit(model, tiny, QUICK.override(batch_size=batch_size), run_dir=folder, verbose=0)
    return count


def test_no_value_is_read_at_a_step(monkeypatch, tiny, tmp_path):
    monkeypatch.setattr("kzoo.training.divergence._SECONDS_BETWEEN", 1e9)
    few = conversions(monkeypatch, tiny, tmp_path / "few", 48)
    many = conversions(monkeypatch, tiny, tmp_path / "many", 12)
    assert few == many > 0


def test_callback_hears_of_every_step(tiny, small_model, tmp_path):
    counter = Counter()
    kzoo.fit(small_model, tiny, QUICK, callbacks=[counter], run_dir=tmp_path / "run", verbose=0)
    assert (counter.train, counter.test) == (12, 4)


@pytest.mark.parametrize("name", ["on_train_batch_end", "on_batch_end"])
def test_method_set_on_an_instance_is_heard(name):
    heard = []
    callback = keras.callbacks.Callback()
    setattr(callback, name, lambda batch, logs=None: heard.append(batch))
    callbacks = CallbackList([callback], add_progbar=False, verbose=0, epochs=1, steps=3)
    for batch in range(3):
        callbacks.on_train_batch_end(batch, {"loss": 1.0})
    assert heard == [0, 1, 2]


def test_bar_moves_at_most_ten_times_a_second(monkeypatch):
    moves = []
    monkeypatch.setattr(
        keras.callbacks.ProgbarLogger, "on_train_batch_end", lambda self, batch, logs: moves.append(batch)
    )
    monkeypatch.setattr("kzoo.training.callbacks.time.monotonic", iter([5.0, 5.04, 5.2, 5.21, 5.5]).__next__)
    callbacks = CallbackList([], add_progbar=True, verbose=1, epochs=1, steps=5)
    callbacks._async_train = False
    for batch in range(5):
        callbacks.on_train_batch_end(batch, {"loss": 1.0})
    assert moves == [0, 2, 4]
