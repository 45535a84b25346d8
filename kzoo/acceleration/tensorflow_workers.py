"""Training steps on TensorFlow where each of several devices computes a part of the batch, by a `MirroredStrategy`."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from kzoo.shards import Part, computing

Tensor = Any


def all_sum(x: Tensor) -> Tensor:
    """Returns the sum of a tensor over all workers, whose gradient is the sum of theirs."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def _worker() -> int:
    """Returns which worker's step this is, known as it is traced."""
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))


class Team:
    """The workers of a training: here devices of this process.

    Args:
        strategy: The `tf.distribute.MirroredStrategy`.
    """

    copies_models = True
    processes = 1
    lines = None
    rank = 0

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.count = strategy.num_replicas_in_sync
        self.own_workers = (0, self.count)

    @contextlib.contextmanager
    def trains(self, model: keras.Model) -> Iterator[keras.Model]:
        """Yields a copy of a model, whose variables are on all devices. In the end the model has what they came to."""
        with self.strategy.scope():
            copied = type(model).from_config(model.get_config())
        copied._distribute_strategy = None  # each worker takes its part of a batch by itself
        _copy(model, copied)
        copied.construction, copied.class_names = model.construction, model.class_names
        try:
            yield copied
        finally:
            _copy(copied, model)

    def variables(self) -> contextlib.AbstractContextManager[Any]:
        """Returns a context in which variables are made where the workers want them."""
        scope: contextlib.AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def place(self, variables: Sequence[Any]) -> None:
        """Brings variables to where the steps take them: those outside of the steps may be anywhere."""

    def compiled(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns a function of a batch that lets all workers do a step, and returns what the first one comes to."""

        @tf.autograph.experimental.do_not_convert
        def on_all(data: Any) -> Any:
            return self.strategy.run(step, args=(data,))

        compiled = tf.function(on_all, reduce_retracing=True)
        return lambda data: tree.map_structure(self._of_first, compiled(data))

    def _of_first(self, value: Any) -> Any:
        return self.strategy.experimental_local_results(value)[0]

    def part(self, x: Tensor) -> Part:
        """Returns the part of a batch that this worker computes."""
        total = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
        rows = (total + self.count - 1) // self.count
        first = _worker() * rows
        is_even = x.shape[0] is not None and x.shape[0] % self.count == 0
        kept = None if is_even else first + tf.range(rows) < total
        return Part(first, rows, total, self.count, all_sum, kept, loss_is_divided_by=self.count)


class WorksInTeams(keras.Model):
    """Model of which each of several devices may compute a part of every batch."""

    _kzoo_team: Team | None = None
    train_function: Any
    test_function: Any
    predict_function: Any

    def make_train_function(self, force: bool = False) -> Any:
        if self._kzoo_team is None:
            return super().make_train_function(force)
        if force or self.train_function is None:
            self._kzoo_make_metrics()
            self.train_function = _next_of(self._kzoo_team.compiled(self._kzoo_train))
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        if self._kzoo_team is None:
            return super().make_test_function(force)
        if force or self.test_function is None:
            self.test_function = _next_of(self._kzoo_team.compiled(self._kzoo_test))
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Any:
        if self._kzoo_team is None:
            return super().make_predict_function(force)
        if force or self.predict_function is None:
            compiled = self._kzoo_team.compiled(self._kzoo_predict)
            self.predict_function = lambda batches: compiled(batches[0])
        return self.predict_function

    def _kzoo_make_metrics(self) -> None:
        """Makes the variables of the metrics on all devices: the first step would make them on one."""
        assert self._kzoo_team is not None
        with self._kzoo_team.variables():
            answers = tf.zeros((1, self.output_shape[-1]))
            self.compute_metrics(None, answers, answers)
            self.reset_metrics()

    def _kzoo_train(self, data: Any) -> Any:
        trainable = self.trainable_weights
        with tf.GradientTape() as tape:
            loss, answers, part = self._kzoo_computed(data, training=True)
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, trainable), trainable, strict=True))  # adds them up
        return self._kzoo_measured(data, loss, answers, part)

    def _kzoo_test(self, data: Any) -> Any:
        return self._kzoo_measured(data, *self._kzoo_computed(data, training=False))

    def _kzoo_predict(self, data: Any) -> Any:
        assert self._kzoo_team is not None
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        part = self._kzoo_team.part(x)
        return _of_all(self(_own(x, part), training=False), part)

    def _kzoo_computed(self, data: Any, training: bool) -> tuple[Tensor, Tensor, Part]:
        """Returns this worker's share of the loss, and the answers to its part of the images."""
        assert self._kzoo_team is not None
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        part = self._kzoo_team.part(x)
        images, labels, counts = (None if values is None else _own(values, part) for values in (x, y, weight))
        if part.kept is not None:
            kept = tf.cast(part.kept, keras.config.floatx())
            counts = kept if counts is None else tf.cast(counts, kept.dtype) * kept
        with computing(part):
            answers = self(images, training=training)
            loss = self._compute_loss(x=images, y=labels, y_pred=answers, sample_weight=counts, training=training)
        return loss, answers, part

    def _kzoo_measured(self, data: Any, loss: Tensor, answers: Tensor, part: Part) -> Any:
        """Counts the loss and the answers of all workers in the metrics of the first one."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, answers = all_sum(loss), _of_all(answers, part)
        if _worker() != 0:
            return self.get_metrics_result()
        self._loss_tracker.update_state(loss, sample_weight=part.total)
        return self.compute_metrics(x, y, answers, sample_weight=weight)


def _next_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns what Keras calls with an iterator of batches."""
    return lambda iterator: function(next(iterator))


def _copy(model: keras.Model, other: keras.Model) -> None:
    for variable, own in zip(other.variables, model.variables, strict=True):
        variable.assign(keras.ops.convert_to_numpy(own))


def _own(values: Tensor, part: Part) -> Tensor:
    """Returns the rows of this worker; those that only fill up its part are zeros."""
    if part.kept is not None:
        missing = part.rows * part.workers - part.total
        values = tf.pad(values, [[0, missing], *([0, 0] for _ in values.shape[1:])])
    return values[part.first : part.first + part.rows]


def _of_all(values: Tensor, part: Part) -> Tensor:
    """Returns the rows of all workers: of each its own among zeros, added up."""
    after = part.rows * (part.workers - 1) - part.first
    return all_sum(tf.pad(values, [[part.first, after], *([0, 0] for _ in values.shape[1:])]))[: part.total]
