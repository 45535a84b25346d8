"""Batches that depend on nothing but the seed, the epoch and their number."""

import copy
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import NoneType
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo.arguments import boolean, instance, integer, shares
from kzoo.data.augment import Augmentation
from kzoo.data.mixing import Mixing
from kzoo.data.parts import OwnWorkers, read_part
from kzoo.data.shrink import shrink
from kzoo.data.split import Split
from kzoo.streams import check_seed, stream

Batch = tuple[npt.NDArray[Any], ...]

_THREADS = min(4, os.cpu_count() or 1)  # that prepare batches, and how many are prepared ahead
_PREPARES = "kzoo.Batches has threads of its own, and Keras's would mix up its epochs."
_OF_A_PROCESS = ("_process", "_lock", "_helper", "_ahead")


class Batches(keras.utils.PyDataset):
    """Serves a split in batches, each a pure function of `(seed, epoch, index)`.

    Training can therefore start at any batch of any epoch, on any backend, and see what an uninterrupted run sees.
    The first `fit` begins at epoch 0, and each epoch that Keras takes whole moves on to the next, also from one `fit`
    to another; evaluations count like epochs. An epoch that was interrupted is served again from where it began. `fit`
    does not tell its `initial_epoch`: say `start_at(initial_epoch)` before. Pass `shuffle=False` to `fit`; the order is
    drawn here. While a batch is in use, threads prepare the next ones (unless they are single images), so that Keras's
    `workers` stay at 1.

    Args:
        split: `Split` to serve.
        classes: Integer, number of classes, the length of a one-hot label.
        batch_size: Integer, images a batch; the last one has what is left. Defaults to `128`.
        drop_remainder: Boolean, whether to leave out a last batch that is not whole (unless it is the only one), which
            JAX would compile its step anew for. Defaults to `False`.
        seed: Integer, 0 or larger; decides the order and the augmentation. Defaults to `0`.
        shuffle: Boolean, whether each epoch has another random order. Defaults to `False`.
        augmentation: `Augmentation` applied to every batch, or `None`. Defaults to `None`.
        mixing: `Mixing` of the images of a batch, after their augmentation, or `None`. Defaults to `None`.
        scales: Floats in (0, 1], for each epoch the share of height and width that augmented images are shrunk to; that
            of the last one holds for all later ones, too. `fit` takes one size only, on TensorFlow: give each size a
            `fit` of its own. Defaults to `()`, as they are.

    Raises:
        ValueError: If `batch_size` is below 1, `seed` is none, or a label is not below `classes`.

    Example:
        >>> kzoo.Batches(kzoo.load_dataset("digits").train, 10, batch_size=16).batch(epoch=3, index=5)[0].shape
        (16, 32, 32, 3)
    """

    def __init__(
        self,
        split: Split,
        classes: int,
        *,
        batch_size: int = 128,
        drop_remainder: bool = False,
        seed: int = 0,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        mixing: Mixing | None = None,
        scales: Sequence[float] = (),
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        check_seed(seed)
        instance(split, "split", Split, "a kzoo.Split, such as `dataset.train`")
        instance(augmentation, "augmentation", (Augmentation, NoneType), "a kzoo.Augmentation or None")
        instance(mixing, "mixing", (Mixing, NoneType), "a kzoo.Mixing or None")
        drop_remainder, shuffle = boolean(drop_remainder, "drop_remainder"), boolean(shuffle, "shuffle")
        classes, batch_size = integer(classes, "classes"), integer(batch_size, "batch_size", least=1)
        if split.labels.max() >= classes:
            raise ValueError(f"`classes` must exceed the largest label, {split.labels.max()}. Received: {classes}.")
        self.split = split
        self.classes = classes
        self.batch_size = batch_size
        self.drop_remainder = drop_remainder
        self.seed, self.shuffle = seed, shuffle
        self.augmentation = augmentation
        self.mixing = mixing
        self.scales = shares(scales, "scales")
        self.own_workers: OwnWorkers | None = None  # None: all of every batch
        self.epoch, self.first_batch = 0, 0
        self._served = set[int]()
        self._is_training_epoch = False
        self._times_measured = 0  # since the last batch, or the begin or end of an epoch
        self._cached_order: tuple[tuple[object, ...], npt.NDArray[np.intp]] | None = None
        self._last = -1
        self._begin()

    @property
    def workers(self) -> int:
        """Number of Keras's threads that ask for batches: 1."""
        return 1

    @workers.setter
    def workers(self, value: int) -> None:
        if integer(value, "workers", least=0) > 1:
            raise ValueError(f"`workers` must be at most 1: {_PREPARES} Received: workers={value}.")

    @property
    def use_multiprocessing(self) -> bool:
        """Whether Keras asks for batches from other processes: no."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        if boolean(value, "use_multiprocessing"):
            raise ValueError(f"`use_multiprocessing` must be False: {_PREPARES} Received: use_multiprocessing=True.")

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in a whole epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole if whole and self.drop_remainder else whole + (rest > 0)

    @property
    def fixed_batch_size(self) -> int | None:
        """Number of images in each batch, or `None` where the last one has fewer, and for subclasses."""
        whole, rest = divmod(len(self.split), self.batch_size)
        same = type(self) is Batches and whole and (self.drop_remainder or not rest)
        return self.batch_size if same else None

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Moves to a batch of an epoch: item 0 is now that batch, and the length what remains of the epoch.

        Keras reads the length once for a whole `fit`. Hence, to go on in the middle of an epoch: finish that epoch
        with a `fit` of its own, then `start_at` the next.

        Args:
            epoch: Integer, counted from 0.
            batch: Integer, counted from 0, below `batches_per_epoch`. Defaults to `0`.

        Raises:
            ValueError: If there is no such batch or epoch.
        """
        if epoch < 0:
            raise ValueError(f"`epoch` must be 0 or larger. Received: epoch={epoch}.")
        if not 0 <= batch < self.batches_per_epoch:
            raise ValueError(f"`batch` must be 0 to {self.batches_per_epoch - 1}. Received: batch={batch}.")
        self.epoch, self.first_batch = epoch, batch
        self._served.clear()

    @property
    def num_batches(self) -> int:
        """What Keras asks for, where others ask for the length."""
        self._times_measured += 1
        return len(self)

    def on_epoch_begin(self) -> None:
        """Is called by Keras before an epoch, and before it looks at a batch to build a model.

        It asks for the number of batches before it looks, and not from one epoch to the next.
        """
        self._is_training_epoch = self._times_measured == 0
        self._times_measured = 0

    def on_epoch_end(self) -> None:
        """Moves to the next epoch, if Keras has taken all of this one.

        Keras also calls it as it starts, whatever was served before, and then asks for the number of batches twice.
        """
        starts = not self._is_training_epoch or self._times_measured > 1
        self._is_training_epoch, self._times_measured = False, 0
        if starts:
            self._served.clear()
            with self._own_lock():
                self._end_helper()
        elif len(self._served) == len(self):
            self.start_at(self.epoch + 1)

    def batch(self, epoch: int, index: int) -> Batch:
        """Returns one batch, whatever was asked for before.

        Args:
            epoch: Integer, counted from 0.
            index: Integer, position in the epoch, counted from 0.

        Returns:
            Images, uint8 of shape `(batch, height, width, channels)`, and labels, float32 of shape `(batch, classes)`,
            one-hot unless images are mixed; where the split has weights, those too, float32 of shape `(batch,)`.

        Raises:
            IndexError: If the epoch has no such batch.
        """
        if not 0 <= index < self.batches_per_epoch:
            raise IndexError(f"`index` must be 0 to {self.batches_per_epoch - 1}. Received: index={index}.")
        chosen = self._order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        images = read_part(self.split, chosen, None if self.mixing else self.own_workers)
        if self.augmentation is not None:
            random = stream(self.seed, "augment", epoch, index)
            if self.augmentation.flip_mode == "alternate":
                images = self.augmentation(images, random, self._mirrored(epoch)[chosen])
            else:
                images = self.augmentation(images, random)
        labels = (self.split.labels[chosen, None] == np.arange(self.classes)).astype(np.float32)
        height, width = self.image_size(epoch)
        if (height, width) != images.shape[1:3]:
            images = shrink(images, height, width)
        weights = None if self.split.weights is None else self.split.weights[chosen]
        if self.mixing is not None:
            images, labels, weights = self.mixing(images, labels, weights, stream(self.seed, "mix", epoch, index))
        return (images, labels) if weights is None else (images, labels, weights)

    def image_size(self, epoch: int) -> tuple[int, int]:
        """Returns height and width of the images in an `epoch`, counted from 0."""
        height, width, _ = self.split.image_shape
        if not self.scales:
            return height, width
        scale = self.scales[min(epoch, len(self.scales) - 1)]
        return max(round(height * scale), 1), max(round(width * scale), 1)

    def _mirrored(self, epoch: int) -> npt.NDArray[np.bool_]:
        """Returns for each image of the split whether it is mirrored in this epoch: in every other one it is."""
        in_the_first = stream(self.seed, "mirror").randint(0, 2, len(self.split), dtype=bool)
        return in_the_first ^ bool(epoch % 2)

    def __len__(self) -> int:
        return self.batches_per_epoch - self.first_batch

    def __getitem__(self, index: int) -> Batch:
        if index < 0:
            raise IndexError(f"`index` must be 0 or larger. Received: index={index}.")
        epoch, index = self.epoch, self.first_batch + index
        with self._own_lock():
            prepared = self._ahead.pop(self._identity(epoch, index), None)
        batch = prepared.result() if prepared else self.batch(epoch, index)
        with self._own_lock():
            self._times_measured = 0
            self._served.add(index)
            in_order, self._last = index in (self.first_batch, self._last + 1), index
            if index + 1 == self.batches_per_epoch:
                self._end_helper()
            elif in_order and self.batch_size > 1:  # one image takes less than to hand it over
                self._prepare(epoch, range(index + 1, min(index + 1 + _THREADS, self.batches_per_epoch)))
        return batch

    def _own_lock(self) -> threading.Lock:
        """Returns this process's lock: that of a fork's parent may be held by a thread which is not here."""
        if self._process != os.getpid():
            self._begin()
        return self._lock

    def _begin(self) -> None:
        """Starts without batches ahead: a copy, or a fork, has no threads of the original."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._helper: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[object, ...], Future[Batch]] = {}

    def _prepare(self, epoch: int, indices: range) -> None:
        """Has threads prepare batches, as the settings are now, and forgets those that nobody asks for any more."""
        self._helper = self._helper or ThreadPoolExecutor(_THREADS, thread_name_prefix="kzoo-batches")
        self._order(epoch)
        wanted = {self._identity(epoch, index): index for index in indices}
        for identity in self._ahead.keys() - wanted.keys():
            self._ahead.pop(identity).cancel()
        for identity, index in wanted.items():
            if identity not in self._ahead:
                self._ahead[identity] = self._helper.submit(copy.copy(self).batch, epoch, index)

    def _end_helper(self) -> None:
        """Ends the threads that prepare batches: something may keep these long after their last epoch."""
        for future in self._ahead.values():  # those that somebody waits for are not among them
            future.cancel()
        self._ahead = {}
        if self._helper is not None:
            self._helper.shutdown(wait=False)
            self._helper = None

    def _identity(self, epoch: int, index: int) -> tuple[object, ...]:
        """Returns all that decides what is in a batch."""
        settings = (self.classes, self.batch_size, self.drop_remainder, self.seed, self.shuffle, self.own_workers)
        return (epoch, index, id(self.split), id(self.augmentation), id(self.mixing), self.scales, *settings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _OF_A_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _order(self, epoch: int) -> npt.NDArray[np.intp]:
        # One assignment of one tuple: TensorFlow reads from a thread of its own while the epoch moves on.
        cached, count = self._cached_order, len(self.split)
        decides = (epoch, self.seed, self.shuffle, count)
        if cached is None or cached[0] != decides:
            order = stream(self.seed, "order", epoch).permutation(count) if self.shuffle else np.arange(count)
            self._cached_order = cached = (decides, order)
        return cached[1]
