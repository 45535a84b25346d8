"""What to look at before a training: counts, sizes, modes, doubles and examples of a folder's images."""

import base64
import collections
import dataclasses
import html
import io
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kzoo.data.assembling import Member
from kzoo.data.cache import decoded
from kzoo.data.dataset import Dataset
from kzoo.data.files import files_of
from kzoo.data.folder import members_of
from kzoo.data.images import SIDEWAYS, Decoding, opened_image, orientation_of
from kzoo.data.layouts import layout_of
from kzoo.data.prepared import is_prepared
from kzoo.data.sources import load_dataset, located
from kzoo.data.tables import is_table
from kzoo.durable import output_path, written_file

_SHOWN = 8  # examples of a class
_CLASSES = 40  # of which examples are shown
_SIDE = 64  # pixels of an example


def look_at(
    name_or_path: str, report: Path | None = None, *, load: Callable[..., Dataset] = load_dataset, **options: Any
) -> dict[str, Any]:
    """Loads a dataset, looks at its files where it is a folder or zip, and perhaps writes a report.

    Args:
        name_or_path: As for `kzoo.load_dataset`.
        report: Path of an HTML file to write, or `None`. Defaults to `None`.
        load: What loads the dataset. Defaults to `kzoo.load_dataset`.
        **options: As for `kzoo.load_dataset`.

    Returns:
        What `Dataset.summary` says, of images of different sizes at 64x64 pixels, cropped; of a folder or zip also what
        `survey` says.
    """
    if report is not None:
        _check_target(report)
    seen = None
    if (path := _files_at(name_or_path, options.get("data_dir"))) is not None:
        names = [field.name for field in dataclasses.fields(Decoding)]
        seen, decoding = survey(path, Decoding(**{name: options[name] for name in names if name in options}))
        options |= {**dataclasses.asdict(decoding), "skip_unreadable": True}  # those are told here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*cannot be read and are left out")
        dataset = load(name_or_path, **options)
    if report is not None:
        write_report(report, dataset, seen)
    return {**dataset.summary(), **(seen or {})}


def _files_at(name_or_path: str, data_dir: Any) -> Path | None:
    """Returns the folder or zip that a dataset is read from, or `None` if it is no such."""
    if name_or_path == "digits":
        return None
    try:
        _, path = located(name_or_path, data_dir)
    except (OSError, ValueError):  # loading tells
        return None
    is_folder = path.is_dir() and not is_prepared(path) and not is_table(path)
    return path if is_folder or (path.is_file() and path.suffix.casefold() == ".zip") else None


def survey(path: Path, decoding: Decoding | None = None) -> tuple[dict[str, Any], Decoding]:
    """Looks at every file of a folder or zip, and decodes those that are not in the cache.

    Args:
        path: Path of the folder or .zip file.
        decoding: The `Decoding`. Defaults to `None`, for each image's own size, in color.

    Returns:
        Dictionary: `files`, `ignored` (what was left out, by reason), `classes` (split to class to count), `sizes`,
        `modes`, `formats` and `orientations` (value to count), `unreadable` (name to reason), `duplicates` (lists of
        names of the same content), and `leaked`, those of them that are both in train and in another split; and the
        `Decoding` that they were looked at with: images of different sizes at 64x64 pixels, cropped.

    Raises:
        ValueError: If the layout is none that `load_dataset` knows, or no file is an image.
    """
    decoding = decoding or Decoding()
    files = files_of(path)
    layout = layout_of(files)
    members = members_of(files, layout)
    glances = _glances(members)
    found = [glance for glance in glances if glance is not None]
    sizes = collections.Counter(glance.size for glance in found)
    if decoding.image_size is None and len(sizes) > 1:
        decoding = dataclasses.replace(decoding, image_size=(_SIDE, _SIDE), resize="crop")
    unreadable = decoded(str(path), [member.item for member in members], decoding).unreadable
    same = collections.defaultdict[bytes, list[Member]](list)
    for position, (member, glance) in enumerate(zip(members, glances, strict=True)):
        if glance is not None and position not in unreadable:
            same[glance.digest].append(member)
    doubles = [copies for copies in same.values() if len(copies) > 1]
    leaked = [copies for copies in doubles if len({member.split for member in copies}) > 1]
    counts: dict[str, collections.Counter[Any]] = {
        "sizes": sizes,
        "modes": collections.Counter(glance.mode for glance in found),
        "formats": collections.Counter(glance.format for glance in found),
        "orientations": collections.Counter(glance.orientation for glance in found),
    }
    return {
        "files": len(members),
        "ignored": dict(files.ignored),
        "classes": {
            split: dict(collections.Counter(layout.class_names[label] for _, label in listed))
            for split, listed in layout.splits.items()
        },
        **{name: dict(counter.most_common()) for name, counter in counts.items()},
        "unreadable": {_shown(members[position].name): _shown(unreadable[position]) for position in sorted(unreadable)},
        "duplicates": [[_shown(member.name) for member in copies] for copies in doubles],
        "leaked": [[_shown(member.name) for member in copies] for copies in leaked],
    }, decoding


def _shown(text: str) -> str:
    """Returns a text with names of files in it as it can be printed: they need not be of any encoding."""
    return text.encode("utf-8", "backslashreplace").decode()


class _Glance(NamedTuple):
    """What a file's header says, and what its content is known by."""

    size: str
    mode: str
    format: str
    orientation: int
    digest: bytes


def _glances(members: Sequence[Member]) -> list[_Glance | None]:
    """Returns what can be seen of files without decoding them, `None` where they are no images; by all cores."""
    from tqdm import tqdm

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kzoo-looking") as pool:
        looked = pool.map(_glance, members, chunksize=64)
        return list(tqdm(looked, total=len(members), desc="looking", unit=" files", disable=None, delay=1))


def _glance(member: Member) -> _Glance | None:
    try:
        data = member.read()
        with opened_image(data) as image:
            orientation = orientation_of(image) or 1
            width, height = image.size
            if image.format == "TIFF":  # Pillow has turned the size already, or not, by its version
                width, height = image.tag_v2[256], image.tag_v2[257]
            if orientation in SIDEWAYS:
                width, height = height, width
            return _Glance(f"{height}x{width}", image.mode, str(image.format), orientation, sha256(data).digest())
    except Exception:  # which exceptions a decoder raises on broken data is nowhere specified; decoding tells
        return None


def write_report(path: Path, dataset: Dataset, seen: dict[str, Any] | None) -> None:
    """Writes one HTML file: numbers, the mean image, and a sheet of examples of each class.

    Args:
        path: Path of the file to write.
        dataset: The `Dataset`.
        seen: What `survey` found, or `None` where the images are no files.
    """
    rows = [("images", f"{sum(len(part) for part in _parts(dataset).values()):,}")]
    rows += [(name, f"{len(part):,}") for name, part in _parts(dataset).items()]
    rows += [("image size", "x".join(map(str, dataset.image_shape)))]
    rows += [("mean", _numbers(dataset.pixel_mean)), ("deviation", _numbers(dataset.pixel_std))]
    body = [
        f"<h1>{html.escape(dataset.name)}</h1>",
        _table(rows),
        "<h2>Mean image</h2>",
        _picture(_mean_image(dataset)),
    ]
    body += ["<h2>Images a class</h2>", _classes_table(dataset)]
    if seen is not None:
        body += ["<h2>Files</h2>", _table(_of_files(seen))]
        for title in ("unreadable", "leaked", "duplicates"):
            body += _listed(title, seen[title])
    body += ["<h2>Examples</h2>", *_sheets(dataset)]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(dataset.name)}</title>'
    page += f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    with written_file(output_path(path)) as aside:
        aside.write_bytes(page.encode("utf-8", "backslashreplace"))  # names of files need not be of any encoding


def _check_target(report: Path) -> None:
    """Raises an error unless a report can be written there: nothing but a file is replaced."""
    if not report.parent.is_dir():
        raise FileNotFoundError(f"`report` must be a file in a folder that exists. Received: {str(report)!r}.")
    if report.exists() and not report.is_file():
        raise ValueError(f"`report` must be the name of a file. Received: {str(report)!r}, which is something else.")


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top }
td + td { font-variant-numeric: tabular-nums } img { image-rendering: pixelated; margin: 2px; border: 1px solid #ddd }
.class img { max-width: calc(12.5% - 6px); box-sizing: border-box }
h1, h2 { font-weight: 600 } h2 { margin-top: 2rem } td, th, li, b { overflow-wrap: anywhere }
.class { margin: .6rem 0 } .class b { display: block }
"""


def _parts(dataset: Dataset) -> dict[str, Any]:
    return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>' for a, b in rows)}</table>"


def _classes_table(dataset: Dataset) -> str:
    parts = _parts(dataset)
    counts = {name: np.bincount(part.labels, minlength=dataset.classes) for name, part in parts.items()}
    head = "".join(f"<th>{name}</th>" for name in ("class", *parts))
    rows = [
        f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{counts[part][label]:,}</td>' for part in parts)}</tr>"
        for label, name in enumerate(dataset.class_names)
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _of_files(seen: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("files", f"{seen['files']:,}")]
    for name in ("sizes", "modes", "formats", "orientations", "ignored"):
        found = list(seen[name].items())
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        rows.append((name, ", ".join(f"{value}: {count:,}" for value, count in found[:10]) + more or "none"))
    for name in ("unreadable", "duplicates", "leaked"):
        rows.append((name, f"{len(seen[name]):,}"))
    return rows


def _listed(title: str, found: Any) -> list[str]:
    if not found:
        return []
    lines = [f"{name}: {why}" for name, why in found.items()] if isinstance(found, dict) else map(" = ".join, found)
    shown = "".join(f"<li>{html.escape(line)}</li>" for line in list(lines)[:100])
    return [f"<h3>{title}</h3><ul>{shown}</ul>"]


def _mean_image(dataset: Dataset) -> Any:
    total = np.zeros(dataset.image_shape, np.float64)
    for images in dataset.train.chunks():
        total += images.sum(axis=0, dtype=np.float64)
    return np.rint(total / len(dataset.train)).astype(np.uint8)


def _sheets(dataset: Dataset) -> list[str]:
    """Returns the first examples of each class, drawn from the training split."""
    sheets = []
    for label, name in list(enumerate(dataset.class_names))[:_CLASSES]:
        members = np.flatnonzero(dataset.train.labels == label)[:_SHOWN]
        pictures = "".join(_picture(image) for image in dataset.train.read(members))
        sheets.append(f'<div class="class"><b>{html.escape(name)}</b>{pictures}</div>')
    if dataset.classes > _CLASSES:
        sheets.append(f"<p>and {dataset.classes - _CLASSES:,} classes more</p>")
    return sheets


def _picture(pixels: Any) -> str:
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max(image.size) < _SIDE:  # small images are enlarged without blur
        factor = _SIDE // max(image.size)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((2 * _SIDE, 2 * _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
