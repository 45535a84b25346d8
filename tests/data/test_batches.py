import contextlib
import copy
import hashlib
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data import Augmentation, Batches, Mixing, load_dataset
from kzoo.streams import stream

# All that changes images and labels, at once.
EVERYTHING = {
    "augmentation": Augmentation(crop_padding=2, pad_mode="reflect", flip_mode="alternate", erase=0.5),
    "mixing": Mixing(mixup=0.4, cutmix=1.0, share=0.75),
}
ALL_IN_EPOCH_3 = "6744323ae25b92f3f8a8e08d8e709353a461aabc162334eda6497f2af7f23366"
BATCH_5_OF_EPOCH_3 = "e4002578b95dc40b3fc9442087a33ee7a65335aca615ba18df52922bc05e55c3"


def levels(batch: tuple[np.ndarray, np.ndarray]) -> list[int]:
    return batch[0][:, 4, 4, 0].tolist()


@pytest.fixture
def batches(numbered) -> Batches:
    return Batches(numbered, 2, batch_size=3, shuffle=True, augmentation=Augmentation(crop_padding=2))


def fresh(batches: Batches) -> Batches:
    return Batches(batches.split, 2, batch_size=3, shuffle=True, augmentation=batches.augmentation)


@pytest.mark.parametrize("history", [[], [(0, 0), (0, 1)], [(7, 2), (0, 3), (2, 1)]])
def test_batch_does_not_depend_on_what_was_asked_before(batches, history):
    for epoch, index in history:
        batches.batch(epoch, index)
    assert np.array_equal(batches.batch(2, 1)[0], fresh(batches).batch(2, 1)[0])


@pytest.mark.parametrize(("epoch", "first", "item"), [(2, 0, 3), (2, 3, 0), (2, 1, 2)])
def test_item_is_the_same_wherever_the_epoch_was_entered(batches, epoch, first, item):
    batches.start_at(epoch, first)
    assert np.array_equal(batches[item][0], fresh(batches).batch(2, 3)[0])


@pytest.mark.parametrize(("change", "epoch", "index"), [("seed", 0, 1), ("epoch", 1, 1), ("index", 0, 2)])
def test_augmentation_depends_on_seed_epoch_and_index(numbered, change, epoch, index):
    same = np.broadcast_to(np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1), (10, 8, 8, 3))
    split = type(numbered)(same, numbered.labels)
    one = Batches(split, 2, batch_size=3, augmentation=Augmentation())
    other = Batches(split, 2, batch_size=3, augmentation=Augmentation(), seed=int(change == "seed"))
    assert not np.array_equal(one.batch(0, 1)[0], other.batch(epoch, index)[0])


def test_batch_5_of_epoch_3_has_the_same_bytes_on_every_backend():
    dataset = load_dataset()
    batches = Batches(dataset.train, 10, batch_size=32, shuffle=True, augmentation=Augmentation(flip=dataset.flip))
    images, labels = batches.batch(3, 5)
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == BATCH_5_OF_EPOCH_3


def test_augmented_and_mixed_batches_have_the_same_bytes_on_every_backend():
    dataset = load_dataset()
    batches = Batches(dataset.train, 10, batch_size=32, shuffle=True, **EVERYTHING)
    digest = hashlib.sha256()
    for index in range(batches.batches_per_epoch):
        for array in batches.batch(3, index):
            digest.update(array.tobytes())
    assert digest.hexdigest() == ALL_IN_EPOCH_3


@pytest.mark.parametrize("name", ["erase", "mixup", "cutmix"])
def test_each_way_to_change_images_changes_them(numbered, name):
    augmentation = Augmentation(crop_padding=0, flip=False, erase=float(name == "erase"))
    mixing = None if name == "erase" else Mixing(**{name: 1.0})
    plain, changed = Batches(numbered, 2), Batches(numbered, 2, augmentation=augmentation, mixing=mixing)
    assert not np.array_equal(plain.batch(0, 0)[0], changed.batch(0, 0)[0])


@pytest.mark.parametrize("batch_size", [4, 10])
@pytest.mark.parametrize("shuffle", [False, True])
def test_two_epochs_of_alternating_mirror_images_show_both_forms_of_each(batch_size, shuffle):
    images = np.random.RandomState(0).randint(0, 256, (10, 8, 8, 3)).astype(np.uint8)
    split = kzoo.Split(images, np.arange(10))
    augmentation = Augmentation(crop_padding=0, flip_mode="alternate")
    batches = Batches(split, 10, batch_size=batch_size, shuffle=shuffle, augmentation=augmentation)
    mirrored = []
    for epoch in range(6):
        served = [batches.batch(epoch, index) for index in range(len(batches))]
        labels = np.concatenate([labels for _, labels in served]).argmax(1)
        seen = np.concatenate([images for images, _ in served])[np.argsort(labels)]
        mirrored.append((seen == images[:, :, ::-1]).all((1, 2, 3)))
        assert ((seen == images).all((1, 2, 3)) ^ mirrored[-1]).all()
    expected = stream(0, "mirror").randint(0, 2, 10, dtype=bool)
    assert 0 < expected.sum() < 10
    np.testing.assert_array_equal(mirrored, [expected, ~expected] * 3)


def test_alternating_mirror_images_depend_on_the_seed():
    split = kzoo.Split(np.zeros((100, 8, 8, 3), np.uint8), np.arange(100))
    first = [Batches(split, 100, seed=seed)._mirrored(0) for seed in range(3)]
    assert all(30 < mirrored.sum() < 70 for mirrored in first)
    assert 30 < (first[0] != first[1]).sum() < 70
    assert 30 < (first[0] != first[2]).sum() < 70


@pytest.mark.parametrize("history", [[], [(0, 0), (0, 1)], [(7, 2), (0, 3), (2, 1)]])
def test_mixed_batch_does_not_depend_on_what_was_asked_before(numbered, history):
    first, second = (Batches(numbered, 2, batch_size=3, shuffle=True, **EVERYTHING) for _ in range(2))
    for epoch, index in history:
        first.batch(epoch, index)
    second.start_at(2, 1)
    for one, other in zip(first.batch(2, 1), second[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("workers", [1, 4])
def test_threads_mix_the_same_batches(numbered, workers):
    split = kzoo.Split(numbered.images.repeat(20, axis=0), numbered.labels.repeat(20))
    batches = Batches(split, 2, batch_size=16, shuffle=True, **EVERYTHING)
    expected = [batches.batch(0, index)[0] for index in range(len(batches))]
    with ThreadPoolExecutor(workers) as pool:
        for images, same in zip(pool.map(lambda index: batches[index][0], range(len(batches))), expected, strict=True):
            np.testing.assert_array_equal(images, same)


def test_weights_are_mixed_with_their_images(numbered):
    weighted = numbered.weighted(np.arange(10))
    served = Batches(weighted, 2, mixing=Mixing(mixup=8.0)).batch(0, 0)
    images, labels, weights = Mixing(mixup=8.0)(
        numbered.images,
        np.eye(2, dtype=np.float32)[numbered.labels],
        np.arange(10, dtype=np.float32),
        stream(0, "mix", 0, 0),
    )
    for one, other in zip(served, (images, labels, weights), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(weights - np.arange(10)).max() > 0


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_epoch_serves_every_item_once(batches, epoch):
    batches.start_at(epoch)
    batches.augmentation = None
    assert sorted(level for batch in batches for level in levels(batch)) == list(range(1, 11))


def test_order_differs_from_epoch_to_epoch(numbered):
    batches = Batches(numbered, 2, batch_size=10, shuffle=True)
    assert levels(batches.batch(0, 0)) != levels(batches.batch(1, 0))


def test_order_without_shuffle_is_that_of_the_split(numbered):
    assert levels(Batches(numbered, 2, batch_size=4).batch(6, 1)) == [5, 6, 7, 8]


def test_last_batch_has_what_is_left(numbered):
    assert levels(Batches(numbered, 2, batch_size=4)[2]) == [9, 10]


def test_labels_are_one_hot_of_their_images(numbered):
    _, labels = Batches(numbered, 3, batch_size=4)[0]
    assert labels.dtype == np.float32
    assert labels.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]]


def test_labels_follow_their_images_through_the_shuffle(batches):
    batches.augmentation = None
    images, labels = batches.batch(4, 0)
    assert np.array_equal((images[:, 0, 0, 0] - 1) % 2, labels.argmax(1))


@pytest.mark.parametrize(("batch", "length"), [(0, 4), (1, 3), (3, 1)])
def test_length_is_what_remains_of_the_epoch(batches, batch, length):
    batches.start_at(0, batch)
    assert len(batches) == length


@pytest.mark.parametrize("index", [-1, 2, 99])
def test_item_out_of_range_is_an_index_error(batches, index):
    batches.start_at(1, 2)
    with pytest.raises(IndexError, match="`index` must be"):
        batches[index]


@pytest.mark.parametrize(
    ("epoch", "batch", "message"),
    [(-1, 0, "`epoch` must be 0 or larger"), (0, 4, "`batch` must be 0 to 3. Received: batch=4"), (0, -1, "`batch`")],
)
def test_start_at_rejects_what_does_not_exist(batches, epoch, batch, message):
    with pytest.raises(ValueError, match=message):
        batches.start_at(epoch, batch)


@pytest.mark.parametrize(
    ("classes", "batch_size", "message"),
    [(2, 0, "`batch_size` must be at least 1"), (1, 4, "`classes` must exceed the largest label, 1. Received: 1")],
)
def test_batches_reject_wrong_arguments(numbered, classes, batch_size, message):
    with pytest.raises(ValueError, match=message):
        Batches(numbered, classes, batch_size=batch_size)


def test_batches_refuse_threads_and_processes_of_keras(batches):
    with pytest.raises(ValueError, match="`workers` must be at most 1: kzoo.Batches has threads of its own"):
        batches.workers = 2
    with pytest.raises(ValueError, match="`use_multiprocessing` must be False: kzoo.Batches has threads of its own"):
        batches.use_multiprocessing = True
    with pytest.raises(ValueError, match="`workers` must be at least 0. Received: workers=-1."):
        batches.workers = -1
    batches.workers, batches.use_multiprocessing = 1, False
    assert (batches.workers, batches.use_multiprocessing) == (1, False)


class Follow(keras.callbacks.Callback):
    """Moves the batches to the epoch, as training does."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.batches.start_at(epoch)


def test_fit_sees_uint8_images_as_their_float_values(numbered):
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(inputs))
    model = keras.Model(inputs, outputs[:, :2])
    seen = np.asarray(model.predict(Batches(numbered, 2, batch_size=4), verbose=0))
    assert seen[:, 0].tolist() == list(range(1, 11))


def test_fit_repeats_itself_bit_for_bit(batches):
    def weights() -> np.ndarray:
        inputs = keras.Input((8, 8, 3))
        outputs = keras.layers.Dense(2, kernel_initializer="zeros")(keras.layers.Flatten()(inputs / 10.0))
        model = keras.Model(inputs, outputs)
        model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
        model.fit(batches, epochs=3, shuffle=False, verbose=0, callbacks=[Follow(batches)])
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    assert np.array_equal(weights(), weights())


@pytest.mark.parametrize(("drop_remainder", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_remainder(numbered, drop_remainder, sizes):
    batches = Batches(numbered, 2, batch_size=4, drop_remainder=drop_remainder)
    assert [len(batches[i][1]) for i in range(len(batches))] == sizes
    with pytest.raises(IndexError, match=f"must be 0 to {len(sizes) - 1}"):
        batches.batch(0, len(sizes))


def test_only_batch_stays_whatever_its_size(numbered):
    assert len(Batches(numbered, 2, batch_size=64, drop_remainder=True)) == 1


def test_batch_prepared_ahead_is_not_another_epochs(batches):
    batches[0]  # prepares batch 1 of epoch 0
    batches.start_at(2)
    for index in (1, 0, 2):
        for prepared, asked in zip(batches[index], batches.batch(2, index), strict=True):
            np.testing.assert_array_equal(prepared, asked)


def test_next_batches_are_prepared_while_one_is_in_use(batches, monkeypatch):
    batches[0]
    wait(batches._ahead.values())
    monkeypatch.setattr(batches, "batch", lambda epoch, index: pytest.fail(f"batch {index} was not prepared"))
    batches._helper.submit = lambda *arguments: None
    assert len(batches[1]) == 2


def test_batches_are_prepared_by_several_threads_at_once(batches, monkeypatch):
    monkeypatch.setattr("kzoo.data.batches._THREADS", 2)
    both, batch = threading.Barrier(2, timeout=10), batches.batch

    def together(epoch, index):
        if index in (1, 2):
            both.wait()  # breaks unless another thread is here, too
        return batch(epoch, index)

    monkeypatch.setattr(batches, "batch", together)
    for index in range(3):
        assert levels(batches[index]) == levels(batch(0, index))


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 5), ("batch_size", 2), ("augmentation", None), ("mixing", Mixing(1.0)), ("shuffle", False)],
)
def test_batch_prepared_ahead_is_not_of_other_settings(batches, name, value):
    batches[0]
    assert getattr(batches, name) != value
    setattr(batches, name, value)
    for prepared, asked in zip(batches[1], batches.batch(0, 1), strict=True):
        np.testing.assert_array_equal(prepared, asked)


@pytest.mark.parametrize(("name", "value"), [("seed", 5), ("shuffle", False), ("split", None)])
def test_order_is_that_of_the_settings(numbered, batches, name, value):
    batches.batch(0, 0)
    value = numbered.take(np.arange(5)) if name == "split" else value
    setattr(batches, name, value)
    settings = {"split": batches.split, "seed": batches.seed, "shuffle": batches.shuffle}
    other = Batches(classes=2, batch_size=3, augmentation=batches.augmentation, **settings)
    np.testing.assert_array_equal(batches.batch(0, 0)[0], other.batch(0, 0)[0])


def test_batches_ahead_are_of_the_settings_when_they_were_begun(batches, monkeypatch):
    may_read, read = threading.Event(), batches.split.read

    def wait_and_read(chosen):
        if threading.current_thread() is not threading.main_thread():
            assert may_read.wait(10)
        return read(chosen)

    monkeypatch.setattr(batches.split, "read", wait_and_read)
    expected = levels(batches.batch(0, 1))
    batches[0]
    batches.seed = 5  # while threads prepare
    may_read.set()
    wait(batches._ahead.values())
    batches.seed = 0
    assert levels(batches[1]) == expected


def test_batches_in_another_order_are_not_prepared(numbered):
    batches = Batches(numbered, 2, batch_size=1)
    batches.batch_size = 2
    for index in (3, 1, 4, 2):
        batches[index]
    assert not batches._ahead


@pytest.mark.parametrize("workers", [1, 4])
def test_several_threads_may_read(numbered, workers):
    """`workers` is of Keras, whose threads ask for batches at the same time."""
    split = kzoo.Split(numbered.images.repeat(20, axis=0), numbered.labels.repeat(20))
    batches = Batches(split, 2, batch_size=4, shuffle=True)
    expected = [levels(batches.batch(0, index)) for index in range(len(batches))]
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(20):
            assert list(pool.map(lambda index: levels(batches[index]), range(len(batches)))) == expected


def test_batches_in_use_are_copied_and_sent_to_processes(batches):
    expected = [batches[index][0] for index in range(3)]
    for other in (copy.deepcopy(batches), pickle.loads(pickle.dumps(batches))):
        np.testing.assert_array_equal([other[index][0] for index in range(3)], expected)
        other.on_epoch_end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:os.fork:RuntimeWarning")
def test_batches_in_use_work_in_a_fork(batches):
    expected = [batches[index][0] for index in range(3)]
    batches[0]
    child = os.fork()
    if not child:
        same = all(np.array_equal(batches[index][0], images) for index, images in enumerate(expected))
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("last", [False, True])
def test_no_thread_is_left_after_an_epoch(batches, last):
    batches[0]
    threads = list(batches._helper._threads)
    assert threads
    if last:
        batches[len(batches) - 1]
    else:
        batches.on_epoch_end()  # as Keras does when it starts anew after an interruption
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert levels(batches[1]) == levels(batches.batch(0, 1))


@pytest.fixture
def trained_on(monkeypatch):
    """The images that training sees, a batch each, and whether they count: Keras looks at some before it trains."""
    seen: list[np.ndarray] = []
    batch = Batches.batch
    monkeypatch.setattr(Batches, "batch", lambda self, epoch, index: (batch(self, epoch, index)[0],) * 2)

    def record(images, answers):
        if record.counts:
            seen.append(np.asarray(keras.ops.convert_to_numpy(images)).astype(np.uint8))
        return keras.ops.mean(answers, axis=(1, 2))

    class Counts(keras.callbacks.Callback):
        """Tells when a step begins and ends."""

        def on_train_batch_begin(self, batch, logs=None):
            record.counts = True

        def on_train_batch_end(self, batch, logs=None):
            record.counts = False

    def build(cls):
        inputs = keras.Input((8, 8, 3))
        model = cls(inputs, keras.layers.Conv2D(3, 1, kernel_initializer="zeros")(inputs))
        model.compile("sgd", loss=record, run_eagerly=True)
        return lambda *args, callbacks=(), **options: model.fit(
            *args, shuffle=False, verbose=0, callbacks=[Counts(), *callbacks], **options
        )

    record.counts = False
    return seen, build


def assert_epochs(seen, batches, *expected):
    """Compares with whole epochs, given by their number, or single batches, given as `(epoch, index)`."""
    pairs = [
        pair
        for one in expected
        for pair in ([one] if isinstance(one, tuple) else [(one, i) for i in range(batches.batches_per_epoch)])
    ]
    assert len(seen) == len(pairs)
    for images, (epoch, index) in zip(seen, pairs, strict=True):
        np.testing.assert_array_equal(images, batches.batch(epoch, index)[0], err_msg=f"epoch {epoch}, batch {index}")


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
@pytest.mark.parametrize("batch_size", [10, 5, 4])
def test_each_epoch_of_fit_is_another(numbered, trained_on, cls, batch_size):
    seen, build = trained_on
    batches = Batches(numbered, 2, batch_size=batch_size, shuffle=True, augmentation=Augmentation())
    fit = build(cls)
    fit(batches, epochs=3)
    assert_epochs(seen, batches, 0, 1, 2)
    fit(batches, epochs=5, initial_epoch=3)
    assert_epochs(seen, batches, 0, 1, 2, 3, 4)
    batches.start_at(7)
    build(cls)(batches, epochs=2)
    assert_epochs(seen, batches, 0, 1, 2, 3, 4, 7, 8)


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
def test_epoch_entered_in_the_middle_is_followed_by_the_next(batches, trained_on, cls):
    seen, build = trained_on
    batches.start_at(2, 3)
    fit = build(cls)
    fit(batches)
    fit(batches, epochs=2)
    assert_epochs(seen, batches, (2, 3), 3, 4)


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
def test_callback_may_choose_the_epoch(batches, trained_on, cls):
    class Backwards(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            batches.start_at(5 - epoch)

    seen, build = trained_on
    build(cls)(batches, epochs=3, callbacks=[Backwards()])
    assert_epochs(seen, batches, 5, 4, 3)


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
@pytest.mark.parametrize("raises", [False, True])
def test_interrupted_epoch_is_served_again(batches, trained_on, cls, raises):
    class Stop(keras.callbacks.Callback):
        """Ends a training after the second step of the second epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = (self.epoch, batch) == (1, 1)
            if raises and self.model.stop_training:
                raise KeyboardInterrupt

    seen, build = trained_on
    fit = build(cls)
    with pytest.raises(KeyboardInterrupt) if raises else contextlib.nullcontext():
        fit(batches, epochs=3, callbacks=[Stop()])
    fit(batches, epochs=2)
    assert_epochs(seen, batches, 0, (1, 0), (1, 1), 1, 2)


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
def test_epoch_may_take_several_of_keras(batches, trained_on, cls):
    seen, build = trained_on
    build(cls)(batches, epochs=4, steps_per_epoch=2)
    assert_epochs(seen, batches, 0, 1)


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
def test_validation_batches_stay_in_order(numbered, trained_on, cls):
    seen, build = trained_on
    training = Batches(numbered, 2, batch_size=5, shuffle=True)
    validation = Batches(numbered, 2, batch_size=3)
    build(cls)(training, epochs=3, validation_data=validation)
    assert_epochs(seen, training, 0, 1, 2)
    assert levels(validation[1]) == [4, 5, 6]


@pytest.mark.parametrize("cls", [keras.Model, kzoo.Model])
def test_compiled_steps_take_the_batches_of_each_epoch(batches, monkeypatch, cls):
    served: list[np.ndarray] = []
    item = Batches.__getitem__

    def spy(self, index):
        served.append(item(self, index)[0])
        return served[-1], served[-1]

    monkeypatch.setattr(Batches, "__getitem__", spy)
    inputs = keras.Input((8, 8, 3))
    model = cls(inputs, keras.layers.Conv2D(3, 1, kernel_initializer="zeros")(inputs))
    model.compile("sgd", "mse")
    model.fit(batches, epochs=3, shuffle=False, verbose=0)
    assert_epochs(served[-12:], batches, 0, 1, 2)
