"""Images in a folder or a .zip file."""

import functools
import os
import warnings
from pathlib import Path

import numpy as np

from kzoo.data.cache import Item, decoded
from kzoo.data.dataset import Parts, Split
from kzoo.data.files import opened
from kzoo.data.images import Decoding
from kzoo.data.layouts import layout_of

_NAMED = 20  # unreadable files that an error lists


def read_image_folder(path: str | os.PathLike[str], decoding: Decoding, *, skip_unreadable: bool = False) -> Parts:
    """Decodes every image of a folder or .zip laid out `split/class/file` or `class/file`, or takes it from the cache.

    Hidden files, what operating systems leave behind (`__MACOSX`, `Thumbs.db`) and texts beside the images are left
    out.

    Args:
        path: Path of the folder or .zip file.
        decoding: The `Decoding`.
        skip_unreadable: Boolean, whether to leave out files that are no images, with a warning. Defaults to `False`.

    Returns:
        `Parts`, named after the path, with the class names in alphabetical order.

    Raises:
        ValueError: If the zip or an image cannot be read, the layout is another, or sizes differ.
    """
    path = Path(path)
    with opened(path) as files:
        layout = layout_of(files)
        members = [(split, name, label) for split, found in layout.splits.items() for name, label in found]
        items = [
            Item(files.where(name), files.stamp(name), functools.partial(files.read, name)) for _, name, _ in members
        ]
        examples, unreadable, _ = decoded(str(path), items, decoding)
    tell_of_unreadable(str(path), len(items), unreadable, skip_unreadable)
    parts = {}
    for split in layout.splits:
        chosen = [i for i, (owner, _, _) in enumerate(members) if owner == split and i not in unreadable]
        if not chosen:
            raise ValueError(
                f"{str(path)!r} must have images that can be read in each split. Received: none in {split}."
            )
        labels = np.array([members[i][2] for i in chosen], np.int64)
        names = [members[i][1] for i in chosen]
        parts[split] = Split.of(examples, labels, indices=np.array(chosen), names=names)
    name = path.stem if path.is_file() else path.name
    return Parts(name, layout.class_names, parts["train"], parts.get("validation"), parts.get("test"))


def tell_of_unreadable(where: str, count: int, unreadable: dict[int, str], skip: bool) -> None:
    """Raises `ValueError` for files that cannot be read, with all of their names, or warns where they are skipped."""
    if not unreadable:
        return
    listed = [unreadable[position] for position in sorted(unreadable)]
    more = f"\nand {len(listed) - _NAMED:,} more" if len(listed) > _NAMED else ""
    text = "\n".join(listed[:_NAMED]) + more
    if not skip:
        raise ValueError(
            f"{len(listed):,} of {count:,} files of {where!r} cannot be read; mend or remove them, or leave "
            f"them out with `skip_unreadable=True` (--skip-unreadable):\n{text}"
        )
    warnings.warn(f"{where}: {len(listed):,} of {count:,} files cannot be read and are left out:\n{text}", stacklevel=3)
