"""The published archives of well-known datasets: where they are, how to verify them and how to read them."""

import dataclasses
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kzoo.data.published import CIFAR10_CLASSES
from kzoo.data.split import Split

# Superclass -> its classes, both in the alphabetical order in which the archive numbers them.
_CIFAR100_SUPERCLASSES = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file to download, with what it must be."""

    url: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file, the last part of the URL."""
        return self.url.rpartition("/")[-1]


@dataclasses.dataclass(frozen=True)
class Original:
    """A published dataset, with the version and features that tensorflow-datasets gives it.

    Args:
        version: String, the version of the stock builder of tensorflow-datasets.
        homepage: String, URL of its publisher.
        files: Tuple of `RemoteFile`, its archives.
        class_names: Tuple of strings, one a class.
        read: Function from the paths of the archives, in the order of `files`, to splits by name.
        id_digits: Integer, digits of the number in an example's id. Defaults to `5`.
        superclasses: Mapping from superclass to its classes, or `None`. Defaults to `None`.
        flip: Boolean, whether mirror images are known to keep their class. Defaults to `False`.
    """

    version: str
    homepage: str
    files: tuple[RemoteFile, ...]
    class_names: tuple[str, ...]
    read: Callable[[Sequence[Path]], dict[str, Split]]
    id_digits: int = 5
    superclasses: Mapping[str, Sequence[str]] | None = None
    flip: bool = False


def _read_cifar10(paths: Sequence[Path]) -> dict[str, Split]:
    train = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
    return _read_cifar(paths[0], {"train": train, "test": ("cifar-10-batches-bin/test_batch.bin",)}, label_bytes=1)


def _read_cifar100(paths: Sequence[Path]) -> dict[str, Split]:
    names = {"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)}
    return _read_cifar(paths[0], names, label_bytes=2)


def _read_cifar(path: Path, names: Mapping[str, Sequence[str]], label_bytes: int) -> dict[str, Split]:
    """Reads records of `label_bytes` labels, the finest last, and 3x32x32 pixels, out of a .tar.gz file."""
    try:
        with tarfile.open(path) as archive:
            content = {name: _member(path, archive, name) for group in names.values() for name in group}
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} must be a readable .tar.gz file. Received: {error}.") from error
    record = label_bytes + 3 * 32 * 32
    for name, data in content.items():
        if not data or len(data) % record:
            raise ValueError(
                f"{name!r} in {str(path)!r} must have records of {record} bytes. Received: {len(data)} bytes."
            )
    splits = {}
    for split, group in names.items():
        records = np.concatenate([np.frombuffer(content.pop(name), np.uint8).reshape(-1, record) for name in group])
        images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = Split(images, records[:, label_bytes - 1].astype(np.int64))
    return splits


def _member(path: Path, archive: tarfile.TarFile, name: str) -> bytes:
    # Read in memory by its exact name: nothing of the archive ever decides where a file is written.
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise ValueError(f"{str(path)!r} must contain the file {name!r}. Received: none of that name.")
    return file.read()


def _read_svhn(paths: Sequence[Path]) -> dict[str, Split]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    splits = {}
    for split, path in zip(("train", "test"), paths, strict=True):
        try:
            content = loadmat(path, variable_names=("X", "y"))
            images, labels = content["X"], content["y"]
        except (MatReadError, KeyError, ValueError, TypeError, OSError, zlib.error) as error:
            raise ValueError(f"{str(path)!r} must be a .mat file with X and y. Received: {error}.") from error
        # The file counts the digit 0 as 10.
        splits[split] = Split(images.transpose(3, 0, 1, 2), labels.ravel().astype(np.int64) % 10)
    return splits


# Sizes and hashes are those that tensorflow-datasets checks. The 531,131 `extra` images of SVHN are left out.
ORIGINALS = {
    "cifar10": Original(
        version="3.0.2",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(
            RemoteFile(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        class_names=CIFAR10_CLASSES,
        read=_read_cifar10,
        flip=True,
    ),
    "cifar100": Original(
        version="3.0.2",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(
            RemoteFile(
                "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        class_names=tuple(sorted(name for names in _CIFAR100_SUPERCLASSES.values() for name in names)),
        read=_read_cifar100,
        superclasses=_CIFAR100_SUPERCLASSES,
        flip=True,
    ),
    "svhn_cropped": Original(
        version="3.1.0",
        homepage="http://ufldl.stanford.edu/housenumbers/",
        files=(
            RemoteFile(
                "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            RemoteFile(
                "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
        class_names=tuple("0123456789"),
        read=_read_svhn,
        id_digits=6,
    ),
}
