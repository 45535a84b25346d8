"""From files with labels to the parts of a dataset."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kzoo.data.cache import decoded
from kzoo.data.dataset import Parts
from kzoo.data.images import Decoding
from kzoo.data.items import Item
from kzoo.data.split import Split

_NAMED = 20  # unreadable files that an error lists


class Member(NamedTuple):
    """An image file of a dataset.

    Attributes:
        split: String, `"train"`, `"validation"` or `"test"`.
        name: String, which no other file of the dataset has.
        where: String, what to call the file in messages.
        label: Integer.
        stamp: Two integers that change with the content.
        read: Returns its bytes, from any thread.
        weight: Float, what it counts in the loss. Defaults to `1.0`.
    """

    split: str
    name: str
    where: str
    label: int
    stamp: tuple[int, int]
    read: Callable[[], bytes]
    weight: float = 1.0

    @property
    def item(self) -> Item:
        """What the cache decodes."""
        return Item(self.where, self.stamp, self.read)


def assembled(
    where: str,
    name: str,
    class_names: tuple[str, ...],
    members: Sequence[Member],
    decoding: Decoding,
    skip_unreadable: bool,
    cache: bool,
) -> Parts:
    """Decodes files, or takes their images from the cache.

    Args:
        where: String, what to call the files as a whole in messages.
        name: String, the dataset's name.
        class_names: One name a class.
        members: The files.
        decoding: The `Decoding`.
        skip_unreadable: Boolean, whether to leave out files that are no images, with a warning.
        cache: Boolean, whether to decode all files into the cache at once.

    Returns:
        `Parts`, with the splits that members have.

    Raises:
        ValueError: If files cannot be read, none of a split can, or sizes differ.
    """
    examples, unreadable, _ = decoded(where, [member.item for member in members], decoding, cache)
    tell_of_unreadable(where, len(members), unreadable, skip_unreadable)
    weighted = any(member.weight != 1 for member in members)
    parts = {}
    for split in dict.fromkeys(member.split for member in members):
        chosen = [i for i, member in enumerate(members) if member.split == split and i not in unreadable]
        if not chosen:
            raise ValueError(f"{where!r} must have images that can be read in each split. Received: none in {split}.")
        parts[split] = Split.of(
            examples,
            np.array([members[i].label for i in chosen], np.int64),
            indices=np.array(chosen),
            names=[members[i].name for i in chosen],
            weights=[members[i].weight for i in chosen] if weighted else None,
        )
    return Parts(name, class_names, parts["train"], parts.get("validation"), parts.get("test"))


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
