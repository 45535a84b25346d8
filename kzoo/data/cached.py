"""Images that were decoded before, read from their cache."""

import functools
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kzoo.archives import read_arrays
from kzoo.data.examples import Indices
from kzoo.data.handles import PerProcess
from kzoo.data.images import Images

FORMAT = 1
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class CachedExamples:
    """Images in a cache, read from the disk as they are needed, and checked.

    Args:
        folder: Path of the cache.

    Raises:
        ValueError: If it is none, or not whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = self.manifest(folder)
        count, height, width, channels = self._shape = tuple(manifest["shape"])
        try:
            self.unreadable = {int(position): str(why) for position, why in manifest["unreadable"].items()}
            index = read_arrays(folder / "index.npz", packed=False)
            self._checksums, self.sums, self.labels = index["crc32"], index["sums"], index["labels"]
            size = (folder / "pixels").stat().st_size
        except _DAMAGE as error:
            raise ValueError(f"{str(folder)!r} must be a whole cache of images. Received: {error}") from error
        whole = (
            self._checksums.shape == self.labels.shape == (count,)
            and self.sums.shape == (count, channels, 2)
            and all(array.dtype.kind in "iu" for array in (self._checksums, self.sums, self.labels))
            and min(self._shape) > 0
        )
        if manifest.get("format") != FORMAT or not whole or size != count * height * width * channels:
            raise ValueError(f"{str(folder)!r} must be a whole cache of images. Received: {size:,} bytes.")
        self._file = PerProcess(functools.partial(_Descriptor, folder / "pixels"))

    @staticmethod
    def manifest(folder: Path) -> dict[str, Any]:
        """Returns what is written down of a cache: `source` and `shape`, of four integers, and other things.

        Raises:
            ValueError: If nothing is, or something else.
        """
        try:
            found = dict(json.loads((folder / "manifest.json").read_bytes()))
            sizes, source = found["shape"], found["source"]
        except _DAMAGE as error:
            raise ValueError(f"{str(folder)!r} must be a whole cache of images. Received: {error}") from error
        are_sizes = isinstance(sizes, list) and len(sizes) == 4 and all(type(size) is int for size in sizes)
        if not are_sizes or not isinstance(source, str):
            raise ValueError(f"{str(folder)!r} must be a whole cache of images. Received: {sizes!r} of {source!r}.")
        return found

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self._shape[1:]

    def __len__(self) -> int:
        return self._shape[0]

    def read(self, indices: Indices) -> Images:
        """Returns the images at `indices`.

        Raises:
            ValueError: If one is not what was written.
        """
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        size, file = int(np.prod(self.image_shape)), self._file.get().number
        for image, index in zip(images, indices.tolist(), strict=True):
            read = os.preadv(file, [image.data], index * size)
            if read != size or zlib.crc32(image.data) != self._checksums[index]:
                raise ValueError(
                    f"{str(self.folder)!r} must hold what was decoded. Received: image {index} is damaged. "
                    "Run `kzoo data cache clear`, and start again."
                )
        return images

    def totals(self, indices: Indices) -> npt.NDArray[np.uint64]:
        """Returns sums and sums of squares, as `Examples` says; they were taken when the images were decoded."""
        total: npt.NDArray[np.uint64] = self.sums[indices].sum(axis=0)
        return total


class _Descriptor:
    """A file that is open for as long as this is there."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
