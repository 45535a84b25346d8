import keras
import numpy as np
import pytest

from kzoo.training.callback_state import give_states, states_of


def saved(**state):
    return [{"class": "ModelCheckpoint", "state": {name: {"value": value} for name, value in state.items()}}]


@pytest.fixture
def callback():
    return keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True)


def test_callback_takes_what_it_remembers(callback):
    states, arrays = states_of([callback])
    give_states([callback], saved(best=0.5, _current_epoch=3), arrays)
    assert (callback.best, callback._current_epoch) == (0.5, 3)
    give_states([callback], states, arrays)


@pytest.mark.parametrize(
    "state",
    [{"filepath": "/etc/elsewhere"}, {"on_epoch_end": 1}, {"_save_model": 1}, {"_model": 1}, {"_current_epoch": [1]}],
)
def test_checkpoint_does_not_change_what_a_callback_is_told(callback, state):
    before = dict(vars(callback))
    callback.set_model(keras.Sequential())
    with pytest.raises(ValueError, match="must have what ModelCheckpoint remembers. Received: "):
        give_states([callback], saved(**state), {})
    assert callback.filepath == before["filepath"]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"state": 1},
        {"state": {"best": 1}},
        {"state": {"best": {}}},
        {"state": {"best": {"arrays": "x"}}},
        {"state": {"best": {"arrays": 2, "alone": True}}},
    ],
)
def test_state_that_is_none_is_refused(callback, state):
    with pytest.raises(ValueError, match="must have what each callback remembers. Received: "):
        give_states([callback], [{"class": "ModelCheckpoint", **state}], {"callbacks/0/best/0": np.zeros(1)})
