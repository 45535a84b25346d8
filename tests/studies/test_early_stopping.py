import keras
import numpy as np
import pytest

from kzoo.studies.early_stopping import STUDY, replay, replayed


def stopped_by_keras(losses, patience, min_delta):
    """Returns after which epoch Keras's callback stops, and which epoch's weights the model has then, from 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    stopping = keras.callbacks.EarlyStopping("val_loss", min_delta, patience, mode="min", restore_best_weights=True)
    stopping.set_model(model)
    model.stop_training = False
    stopping.on_train_begin()
    for epoch, loss in enumerate(losses):
        model.set_weights([np.full((1, 1), epoch + 1.0)])
        stopping.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            break
    stopping.on_train_end()
    return epoch + 1, int(model.get_weights()[0].item())


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("min_delta", [0.0, 0.1])
def test_replay_stops_and_restores_as_keras_does(patience, min_delta):
    random = np.random.RandomState(patience)
    for _ in range(10):
        losses = (np.exp(-np.arange(12) / 4) + 0.3 * random.standard_normal(12)).tolist()
        stopped, kept = replay(losses, patience, min_delta)
        theirs = stopped_by_keras(losses, patience, min_delta)
        if stopped < len(losses):  # a training that ends by itself ends with its last weights in Keras
            assert (stopped, kept) == theirs
        else:
            assert theirs[0] == stopped


def test_replay_of_nothing_is_told():
    with pytest.raises(ValueError, match="`losses` must be at least one. Received: losses=\\[\\]."):
        replay([], 1, 0.0)


def test_replay_says_what_is_saved_and_given_up():
    losses = [3.0, 2.0, 2.5, 1.0, 1.5, 1.5]
    row = {"rate": 0.1, "seed": 0, "watched_many": losses, "watched_few": losses, "judged": [30.0, 20, 25, 10, 15, 16]}
    found = {(one["patience"], one["min_delta"]): one for one in replayed([row]) if one["watched"] == "many"}
    hasty, patient = found[1, 0.0], found[2, 0.0]
    assert (hasty["stopped"], hasty["kept"], hasty["saved"], hasty["given_up"]) == (3, 2, 0.5, 10.0)
    assert (patient["stopped"], patient["kept"], patient["given_up"], patient["too_early"]) == (6, 4, 0.0, 0.0)
    assert (hasty["loss_stopped"], hasty["loss_at_end"], hasty["too_early"]) == (25.0, 16.0, 1.0)


def test_each_claim_of_early_stopping_is_about_rows_that_there_are():
    losses = [3.0, 2.0, 2.5]
    row = {"rate": 0.1, "seed": 0, "watched_many": losses, "watched_few": losses, "judged": losses}
    for claim in STUDY.claims:
        assert None not in (claim.this(replayed([row])), claim.other(replayed([row])))
