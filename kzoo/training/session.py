"""A training that can be left between any two steps, and gone on with."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras

from kzoo.acceleration.names import forget_validation
from kzoo.data import Batches
from kzoo.training.averaging import Averages, Followers
from kzoo.training.callback_state import give_states, states_of
from kzoo.training.callbacks import CallbackList
from kzoo.training.divergence import LossGuard, check_finite, check_loss
from kzoo.training.keeper import Interval, Keeper
from kzoo.training.sizes import any_size, ends_of_sizes
from kzoo.training.state import TrainState, arrays_of, set_arrays, set_metrics
from kzoo.training.together import STEPS_BETWEEN, SharedKeeper
from kzoo.workers.watching import moved

Logs = Mapping[str, Any]


class Session(CallbackList):
    """The callbacks of a training, called as if it had never been left, and where the training is.

    Keras reads the number of steps of an epoch once for a `fit`: what is left of an epoch has a `fit` of its own, and
    an epoch whose steps are done is validated without one.

    Args:
        callbacks: The callbacks.
        model: The compiled `keras.Model`.
        train: `Batches` to train on.
        validation: `Batches` to validate on.
        epochs: Integer, how many to train for.
        training: String, what this training is known by in its states.
        folder: Path of the folder of checkpoints.
        interval: `Interval` between them.
        followers: List of `Followers`, moved after each step in that order. `Averages` among them are in the weights'
            place from the end of an epoch's steps to that of the epoch, and in the end. Defaults to `()`.
        team: The team of workers that train together, or `None`. Defaults to `None`.
    """

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        *,
        model: keras.Model,
        train: Batches,
        validation: Batches,
        epochs: int,
        training: str,
        folder: Path,
        interval: Interval,
        followers: Sequence[Followers] = (),
        team: Any = None,
    ) -> None:
        self.train_batches, self.validation, self.epochs, self.training = train, validation, epochs, training
        self.per_epoch = train.batches_per_epoch
        super().__init__(callbacks, add_history=True, verbose=0, epochs=epochs, steps=self.per_epoch, model=model)
        self.epoch, self.batch, self.finished = 0, 0, False
        self.logs: dict[str, float] = {}  # of an epoch whose steps are done
        self._state: TrainState | None = None  # to go on from
        self._first = 0  # batch of the epoch with which this `fit` began
        self._may_end = False
        self._size: tuple[int, int] | None = None  # of the images that were trained on last
        self.followers = followers
        self.averages = [one for one in followers if isinstance(one, Averages)]
        self._team = team
        is_shared = team is not None and team.processes > 1
        self._shared = SharedKeeper(folder, interval, self.capture, team) if is_shared else None
        self.keeper = self._shared or Keeper(folder, interval, self.capture)
        self._guard = LossGuard(by_time=not is_shared)
        self._agrees_each_step = bool(interval.steps) or self.hears_steps
        self._wants_to_stop = False

    def capture(self) -> TrainState:
        """Returns the state of now, between two steps.

        Raises:
            DivergenceError: If the loss or a weight is not a finite number any more.
        """
        self._guard.look()
        states, of_callbacks = states_of(self.callbacks)
        arrays = arrays_of(self.model)
        for follower in self.followers:
            arrays = follower.beside(arrays)
        check_finite(arrays, self.epoch * self.per_epoch + self.batch)
        within = 0 < self.batch < self.per_epoch
        kept = {name: array for name, array in arrays.items() if within or not name.startswith("metrics/")}
        numbers = {
            "training": self.training,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.epoch * self.per_epoch + self.batch,
            "logs": self.logs,
            "stopped": bool(self.model.stop_training),
            "finished": self.finished,
            "callbacks": states,
        }
        return TrainState({**kept, **of_callbacks}, numbers)

    def go_on(self, state: TrainState | None = None) -> None:
        """Trains to the end, from the beginning or from a state.

        Raises:
            ValueError: If the state is not one of this training.
        """
        with self.keeper.listening(), any_size(self.model) if self.train_batches.scales else nullcontext():
            self._go_on(state)

    def _go_on(self, state: TrainState | None) -> None:
        self._state, stopped = state, False
        self.model.stop_training = False
        if state is not None:
            numbers = state.numbers
            stopped = numbers["stopped"]
            self.epoch, self.batch, self.logs = numbers["epoch"], numbers["batch"], numbers["logs"]
            set_arrays(self.model, state.arrays)
            for follower in self.followers:
                follower.set(state.arrays)
                follower.place(self._team)
            if self.batch:
                if self.batch == self.per_epoch:
                    self._end_epoch()
                else:
                    self._first = self.batch
                    self._fit(self.epoch + 1)
                    self._first = 0
                stopped = self.model.stop_training
        else:
            for follower in self.followers:
                follower.place(self._team)
            self.keeper.save(wait=False)
        for end in ends_of_sizes(self.train_batches, self.epochs):  # each size has a pipeline of its own
            if not stopped:
                self._fit(end)
                stopped = self.model.stop_training
        self._begin()
        self.finished = True
        if state is None or not state.numbers["finished"] or self.epoch > state.numbers["epoch"]:
            self.keeper.save_and_end_if_asked()
        self._may_end = True
        for average in self.averages:
            average.put_in()
        self.on_train_end()

    def _fit(self, until: int) -> None:
        if self.epoch < until:
            self.train_batches.start_at(self.epoch, self._first)
            size = self.train_batches.image_size(self.epoch)
            if self._size not in (None, size):  # TensorFlow would make one for any size, which rounds otherwise
                self.model.make_train_function(force=True)
            self._size = size
            forget_validation(self.model)
            self.model.fit(
                self.train_batches,
                validation_data=self.validation,
                initial_epoch=self.epoch,
                epochs=until,
                shuffle=False,
                verbose=0,
                callbacks=self,
            )

    def _end_epoch(self) -> None:
        """Does what `fit` does when the steps of an epoch are done."""
        self._begin()
        found = self.model.evaluate(self.validation, verbose=0, callbacks=self, return_dict=True)
        self.on_epoch_end(self.epoch, {**self.logs, **{f"val_{name}": value for name, value in found.items()}})

    _has_begun = False

    def _begin(self, logs: Any = None) -> None:
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)
            if not self._first:
                self._restore()

    def _restore(self) -> None:
        """Undoes what callbacks did as the training, or an epoch, began for them once more."""
        if (state := self._state) is not None:
            self._state = None
            set_arrays(self.model, state.arrays)
            if self._first:
                set_metrics(self.model, state.arrays)
            give_states(self.callbacks, state.numbers["callbacks"], state.arrays)
            self.model.stop_training = state.numbers["stopped"]
            state.arrays.clear()  # a training takes long, and they as much memory as the model

    def on_train_begin(self, logs: Any = None) -> None:
        self._begin(logs)

    def on_train_end(self, logs: Any = None) -> None:
        if self._may_end:
            super().on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self.epoch = epoch  # a callback may have chosen another
        if self._first:
            self.train_batches.start_at(epoch, self._first)
            self._restore()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        moved()
        super().on_train_batch_begin(self._first + batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        moved()
        super().on_train_batch_end(self._first + batch, logs)
        self.batch = self._first + batch + 1
        for follower in self.followers:
            follower.after_step(self.epoch * self.per_epoch + self.batch)
        is_last = self.batch == self.per_epoch
        self._guard.see(self.epoch * self.per_epoch + self.batch, logs)
        self._agree_after_step(is_last)
        if is_last:
            self._guard.look()
            self.logs = {name: float(keras.ops.convert_to_numpy(value)) for name, value in (logs or {}).items()}
        self.keeper.after_step(may_wait=is_last)

    def _agree_after_step(self, is_last: bool) -> None:
        """Lets all processes come to the same decisions, after the same steps."""
        if self._shared is None:
            return
        self._wants_to_stop = self._wants_to_stop or bool(self.model.stop_training)
        self.model.stop_training = False
        if is_last or self._agrees_each_step or self.batch % STEPS_BETWEEN == 0:
            self._guard.look()
            self.model.stop_training = self._shared.agree(self._wants_to_stop)
            self._wants_to_stop = False

    def on_test_begin(self, logs: Any = None) -> None:
        for average in self.averages:
            average.put_in()
        super().on_test_begin(logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        moved()
        super().on_test_batch_end(batch, logs)
        self.keeper.end_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        check_loss((logs or {}).get("val_loss", 0.0), (epoch + 1) * self.per_epoch, "The validation loss")
        for average in self.averages:
            average.take_out()
        self.epoch, self.batch, self.logs = epoch + 1, 0, {}
        if self._shared is not None:
            self.model.stop_training = self._shared.agree(bool(self.model.stop_training))
        if not self.model.stop_training and self.epoch < self.epochs:  # else the training ends, with a checkpoint
            self.keeper.end_if_asked()
            self.keeper.save_if_due()
