"""Which split and class each file of a folder or archive belongs to, by where it lies."""

import dataclasses
import unicodedata
import warnings
from collections.abc import Iterable, Sequence

from kzoo.data.files import Files

# What people and labelling services call the splits, whatever the case.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_ORDER = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The files of each split.

    Args:
        class_names: Names of the classes, in alphabetical order.
        splits: Split (`train`, perhaps `validation` and `test`) to pairs of file name and label.
    """

    class_names: tuple[str, ...]
    splits: dict[str, list[tuple[str, int]]]


def layout_of(files: Files) -> Layout:
    """Finds out how a folder or archive is laid out: `split/class/file`, or `class/file` without splits.

    One folder around all is allowed. Of images that lie elsewhere a warning tells.

    Args:
        files: The `Files`.

    Raises:
        ValueError: If `train` is missing, a split or class is empty, a split has two folders, a file lies elsewhere
            than in a class, or a class is not in `train`.
    """
    prefix = _wrapping_folder(files)
    has_splits = any(_split_of(name, prefix) for name in files.folders if _is_below(name, prefix, 1))
    return _with_splits(files, prefix) if has_splits else _without_splits(files, prefix)


def _with_splits(files: Files, prefix: tuple[str, ...]) -> Layout:
    tree: dict[str, dict[str, list[str]]] = {}
    folder_of: dict[str, str] = {}
    elsewhere = dict[str, int]()
    for name, is_file in [*((name, False) for name in files.folders), *((name, True) for name in files.names)]:
        parts = _parts(name)[len(prefix) :]
        split = _split_of(name, prefix) if parts else None
        if split is None or (is_file and len(parts) == 1):
            if is_file:
                place = parts[0] if len(parts) > 1 else "."
                elsewhere[place] = elsewhere.get(place, 0) + 1
            continue
        if folder_of.setdefault(split, parts[0]) != parts[0]:
            raise ValueError(
                f"{str(files.path)!r} must have one folder for the {split} split. "
                f"Received: {folder_of[split]!r} and {parts[0]!r}."
            )
        classes = tree.setdefault(split, {})
        if len(parts) == (3 if is_file else 2):
            members = classes.setdefault(_class_name(parts[1]), [])
            members += [name] if is_file else []
        elif is_file or len(parts) > 2:
            raise ValueError(f"Every file must lie in `split/class/file`. Received: {files.where(name)!r}.")
    if elsewhere:
        listed = ", ".join(f"{folder!r} ({count:,})" for folder, count in sorted(elsewhere.items()))
        warnings.warn(f"{files.path}: files outside the splits are left out: {listed}.", stacklevel=2)
    _check_tree(files, tree, folder_of)
    return _sorted_out(tree)


def _without_splits(files: Files, prefix: tuple[str, ...]) -> Layout:
    classes: dict[str, list[str]] = {}
    for name in files.folders:
        if _is_below(name, prefix, 1):
            classes.setdefault(_class_name(_parts(name)[len(prefix)]), [])
    for name in files.names:
        parts = _parts(name)[len(prefix) :]
        if len(parts) != 2:
            raise ValueError(
                "Every file must lie in `class/file`, without the folders `train` and `test`. "
                f"Received: {files.where(name)!r}."
            )
        classes[_class_name(parts[0])].append(name)
    if not classes:
        raise ValueError(
            f"{str(files.path)!r} must have a folder for each class, perhaps in the folders `train` and `test`. "
            f"Received: {_nothing(files)}."
        )
    _check_classes(files, "".join(f"{name}/" for name in prefix), classes)
    return _sorted_out({"train": classes})


def _check_tree(files: Files, tree: dict[str, dict[str, list[str]]], folder_of: dict[str, str]) -> None:
    if "train" not in tree:
        raise ValueError(f"{str(files.path)!r} must have a folder `train`. Received: {sorted(folder_of.values())}.")
    for split, classes in tree.items():
        if not classes:
            raise ValueError(
                f"{files.where(folder_of[split])!r} must have a folder for each class. Received: an empty split."
            )
        _check_classes(files, f"{folder_of[split]}/", classes)
    for split, classes in tree.items():
        for class_name in classes:
            if class_name not in tree["train"]:
                raise ValueError(
                    f"{files.where(f'{folder_of[split]}/{class_name}')!r} must be a class of `train`. Received: "
                    f"unknown class {class_name!r}; `train` has {_some(sorted(tree['train']))}."
                )


def _check_classes(files: Files, prefix: str, classes: dict[str, list[str]]) -> None:
    for class_name, members in classes.items():
        if not members:
            raise ValueError(f"{files.where(f'{prefix}{class_name}')!r} must have images. Received: an empty class.")


def _sorted_out(tree: dict[str, dict[str, list[str]]]) -> Layout:
    class_names = tuple(sorted(tree["train"]))
    splits = {
        split: [(name, label) for label, key in enumerate(class_names) for name in sorted(classes.get(key, ()))]
        for split, classes in sorted(tree.items(), key=lambda item: _ORDER.index(item[0]))
    }
    return Layout(class_names, splits)


def _split_of(name: str, prefix: Sequence[str]) -> str | None:
    return SPLIT_NAMES.get(_parts(name)[len(prefix)].casefold())


def _class_name(folder: str) -> str:
    """Returns a folder's name with each accented letter as one sign: macOS and archives write them as two."""
    return unicodedata.normalize("NFC", folder)


def _is_below(name: str, prefix: tuple[str, ...], depth: int) -> bool:
    parts = _parts(name)
    return parts[: len(prefix)] == prefix and len(parts) >= len(prefix) + depth


def _wrapping_folder(files: Files) -> tuple[str, ...]:
    """Returns the one folder around the splits or classes, or nothing where they are at the top."""
    top = {_parts(name)[0] for name in files.folders} | {
        parts[0] for parts in map(_parts, files.names) if len(parts) > 1
    }
    if len(top) != 1 or any(len(_parts(name)) < 3 for name in files.names):
        return ()
    (name,) = top
    return () if name.casefold() in SPLIT_NAMES else (name,)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split("/"))


def _nothing(files: Files) -> str:
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in files.ignored.items())
    return f"no images{f' (left out: {left_out})' if left_out else ''}"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return str(names) if len(names) <= 10 else f"{names[:10]} and {len(names) - 10} more"
