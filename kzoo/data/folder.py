"""Images in a folder or a .zip file."""

import functools
import os
from pathlib import Path

from kzoo.data.assembling import Member, assembled
from kzoo.data.dataset import Parts
from kzoo.data.files import Files, files_of
from kzoo.data.images import Decoding
from kzoo.data.layouts import Layout, layout_of


def read_image_folder(
    path: str | os.PathLike[str], decoding: Decoding, *, skip_unreadable: bool = False, cache: bool = True
) -> Parts:
    """Decodes every image of a folder or .zip laid out `split/class/file` or `class/file`, or takes it from the cache.

    Hidden files, what operating systems leave behind (`__MACOSX`, `Thumbs.db`) and texts beside the images are left
    out.

    Args:
        path: Path of the folder or .zip file.
        decoding: The `Decoding`.
        skip_unreadable: Boolean, whether to leave out files that are no images, with a warning. Defaults to `False`.
        cache: Boolean, whether to decode all files into the cache at once. Defaults to `True`.

    Returns:
        `Parts`, named after the path, with the class names in alphabetical order.

    Raises:
        ValueError: If the zip or an image cannot be read, the layout is another, or sizes differ.
    """
    path = Path(path)
    files = files_of(path)
    layout = layout_of(files)
    members = members_of(files, layout)
    name = path.stem if path.is_file() else path.name
    return assembled(str(path), name, layout.class_names, members, decoding, skip_unreadable, cache)


def members_of(files: Files, layout: Layout) -> list[Member]:
    """Returns the image files of a folder or archive, a split after the other."""
    return [
        Member(split, name, files.where(name), label, files.stamp(name), functools.partial(files.read, name))
        for split, found in layout.splits.items()
        for name, label in found
    ]
