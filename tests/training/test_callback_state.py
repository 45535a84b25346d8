import keras
import ml_dtypes
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


class Telling(keras.callbacks.Callback):
    def __init__(self, **state):
        super().__init__()
        self.state = state

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state


def test_what_a_callback_changes_later_is_not_kept():
    callback = Telling(rows=[{"epoch": 1}], sums=np.zeros(2))
    states, arrays = states_of([callback])
    callback.state["rows"].append({"epoch": 2})
    callback.state["sums"] += 1
    give_states([callback], states, arrays)
    assert callback.state["rows"] == [{"epoch": 1}]
    assert callback.state["sums"].tolist() == [0, 0]


@pytest.mark.parametrize("value", [{1, 2}, [object()], {"a": np.zeros(2)}])
def test_state_that_cannot_be_written_is_an_error(value):
    with pytest.raises(ValueError, match="The state of Telling must be numbers, texts, .*Received: 'seen': "):
        states_of([Telling(seen=value)])


def test_half_precision_is_kept():
    callback = Telling(weights=[np.array([1.5], ml_dtypes.bfloat16)], alone=np.float32(2))
    give_states([callback], *states_of([callback]))
    assert callback.state["weights"][0].dtype == np.float32
    assert (callback.state["weights"][0].tolist(), callback.state["alone"]) == ([1.5], 2.0)


def test_what_a_class_adds_to_one_of_keras_is_told():
    class Patient(keras.callbacks.EarlyStopping):
        pass

    callback = Patient()
    with pytest.warns(UserWarning, match="What Patient adds to Keras's begins anew: it has no `get_state`"):
        give_states([callback], *states_of([callback]))
