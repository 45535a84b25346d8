"""One function that loads any dataset by name or path."""

import os
import re
from pathlib import Path

from kzoo import arguments
from kzoo.choices import hint
from kzoo.data.dataset import Dataset, carve_validation
from kzoo.data.digits import read_digits
from kzoo.data.folder import read_image_folder
from kzoo.data.originals import ORIGINALS
from kzoo.data.prepared import data_root, prepare_command, prepared_directory, prepared_names, read_prepared
from kzoo.streams import check_seed


def load_dataset(
    name_or_path: str | os.PathLike[str] = "digits",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: arguments.ImageSize | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    flip: bool | None = None,
) -> Dataset:
    """Loads a dataset into memory, with a validation split.

    Args:
        name_or_path: String, one of:
            - `"digits"`: 1,797 handwritten digits that come with scikit-learn, resized to 32x32.
            - `"cifar10"`, `"cifar100"`, `"svhn_cropped"`, or the name of any other dataset that was prepared under
              `data_dir` by `kzoo data prepare` (or by tensorflow-datasets, as `array_record`).
            - a path: a folder or .zip of images laid out `split/class/file`, with the splits `train`, `test` and
              optionally `validation`; or the directory that `prepare_dataset` returned.
            Defaults to `"digits"`.
        data_dir: Path of the folder of prepared datasets. Defaults to the environment variable `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.
        image_size: `(height, width)` in pixels to resize every image to (bicubic), an integer for a square, or `None`
            to keep the size. Defaults to `None`.
        validation: Float between 0 and 1, the part of every class that is taken out of `train` where no validation
            split is stored. Defaults to `0.1`.
        split_seed: Integer, 0 or larger; decides which part. Defaults to `0`.
        flip: Boolean, whether mirror images keep their class, so that training may mirror them, or `None` for what is
            known: True for `cifar10` and `cifar100`, False for all others, your own images too. Defaults to `None`.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: If the dataset was not prepared, or the path does not exist.
        ValueError: If the name is unknown, the files are not as they must be, or `validation`, `image_size` or
            `split_seed` is out of range.

    Example:
    >>> dataset = load_dataset("photos.zip", image_size=(32, 32))
    >>> dataset.class_names
    ('cat', 'dog')
    """
    image_size = arguments.image_size(image_size)
    split_seed = check_seed(split_seed, "split_seed")
    known = None
    if os.fspath(name_or_path) == "digits":
        name, parts = "digits", read_digits(image_size or (32, 32))
    else:
        name, path = _located(name_or_path, data_dir)
        if (path / "dataset_info.json").is_file():
            parts = read_prepared(path, image_size)
            known = ORIGINALS.get(parts.name)
        else:
            parts = read_image_folder(path, image_size)
    if parts.validation is None:
        train, held_out = carve_validation(parts.train, validation, split_seed)
    else:
        train, held_out = parts.train, parts.validation
    flip = (known is not None and known.flip) if flip is None else flip
    source = {
        "name_or_path": name,
        "data_dir": None if data_dir is None else str(data_root(data_dir).resolve()),
        "image_size": image_size,
        "validation": validation,
        "split_seed": split_seed,
        "flip": flip,
    }
    return Dataset(parts.name, parts.class_names, train, held_out, parts.test, flip, source)


def _located(name_or_path: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None) -> tuple[str, Path]:
    """Returns the name by which to load a dataset again, from anywhere, and the path where it is."""
    name, path = os.fspath(name_or_path), Path(name_or_path).expanduser()
    if re.fullmatch(r"\w+", name):
        try:
            root = data_root(data_dir)
        except FileNotFoundError:
            if not path.exists():
                raise
        else:
            if directory := prepared_directory(root, name):
                return name, directory
            if name in ORIGINALS:
                raise FileNotFoundError(
                    f"{name!r} must be prepared under {str(root)!r} first. Run: {prepare_command(name, root)}"
                )
    if path.exists():
        return str(path.resolve()), path.resolve()
    if isinstance(name_or_path, os.PathLike) or path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"`name_or_path` must be a folder or a .zip file that exists. Received: {name!r}.")
    root = data_root(data_dir)
    known = sorted({"digits", *ORIGINALS, *prepared_names(root)})
    near = hint(name, known)
    raise ValueError(
        f"`name_or_path` must be one of {', '.join(known)}, a dataset prepared under {str(root)!r}, or the path of a "
        f"folder or .zip file. Received: {name!r}.{near}"
    )
