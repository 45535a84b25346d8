"""Runs a study: cell by cell, so that it can be left and gone on with."""

import csv
import dataclasses
import gc
import io
import json
import math
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import __version__, environment
from kzoo.arguments import boolean, path
from kzoo.data import Dataset, load_dataset
from kzoo.data.fingerprint import fingerprint
from kzoo.durable import make_folder, written_file
from kzoo.errors import TrainingInterrupted
from kzoo.studies.bench import Bench
from kzoo.studies.catalogue import find_study
from kzoo.studies.charts import draw_all
from kzoo.studies.conclusions import Conclusion, judge
from kzoo.studies.report import report
from kzoo.studies.study import Claim, Row, Settings, Study
from kzoo.sweeps.grid import directory_name, seeds_of, told
from kzoo.sweeps.progress import Bar
from kzoo.training.json_files import read_json, write_json

FILE = "study.json"
SMOKE_SEEDS = 1
DIGITS_SIZE = 8  # pixels: as they were scanned
_ABOUT = {"study": "text", "data": "an object", "backend": "text", "version": "text", "smoke": "true or false"}
_CELL = {"settings": "an object", "seed": "a whole number", "measures": "an object"}


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What a study came to.

    Attributes:
        directory: Path of the folder with `results.csv`, the charts and `report.html`.
        rows: One a cell: settings, seed and measures.
        conclusions: Each claim with what the numbers say of it.
    """

    directory: Path
    rows: list[dict[str, Any]]
    conclusions: list[tuple[Claim, Conclusion]]


def run_study(
    study: str | Study,
    dataset: Dataset | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    smoke: bool = False,
    verbose: Any = "auto",
    bench: Bench | None = None,
) -> StudyResult:
    """Runs a study, or goes on with it, and writes its table, its charts and its report.

    A cell that is measured stays as it is; seeds may be added.

    | file | content |
    |---|---|
    | `study.json` | which study, data and backend this is |
    | `cells/` | each cell's settings, seed and measures, with its curves |
    | `results.csv` | one row a cell: all that is needed to repeat it, and its measures |
    | `<chart>.png` | the charts, for light pages; `<chart>-dark.png` for dark ones |
    | `report.html` | question, setting, conclusions, charts and table on one page |

    Args:
        study: Name of a study, or a `Study`.
        dataset: The `Dataset`. Defaults to digits in 8x8 pixels, as they were scanned.
        directory: Path of the folder. Defaults to `studies/<name>`.
        seeds: Integer, how many seeds (0, 1, ...), or the seeds. Defaults to the study's number, in a smoke test to 1.
        smoke: Boolean, whether everything is to be short: it shows that the study runs, and decides nothing. Defaults
            to `False`.
        verbose: As for `kzoo.sweep`.
        bench: A `Bench` of the same data, whose networks are compiled already. Defaults to a new one.

    Returns:
        The `StudyResult`.

    Raises:
        ValueError: If there is no such study, or the folder holds another one.
        FileExistsError: If the folder has other content.
        TrainingInterrupted: After SIGINT or SIGTERM: the same call goes on.

    Example:
        >>> from kzoo.studies import run_study
        >>> run_study("dropout", smoke=True).conclusions[0][1].verdict
        'undecided at this n'
    """
    study = find_study(study) if not isinstance(study, Study) else study
    smoke = boolean(smoke, "smoke")
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"`verbose` must be one of 'auto', 0, 1, 2. Received: verbose={verbose!r}.")
    wanted = seeds_of((SMOKE_SEEDS if smoke else study.seeds) if seeds is None else seeds)
    folder = Path("studies", study.name) if directory is None else path(directory, "directory")
    if bench is None:
        bench = Bench(load_dataset("digits", image_size=DIGITS_SIZE) if dataset is None else dataset, smoke)
    about = _about(study, bench, smoke)
    _open(folder, about)
    cells = [(settings, seed) for settings in study.grid(smoke) for seed in wanted]
    rows = _measured(study, bench, folder, cells, verbose)
    return _written(study, folder, rows, about, bench)


def run_studies(
    names: Sequence[str], dataset: Dataset, directory: str | os.PathLike[str] = "studies", **going: Any
) -> list[StudyResult]:
    """Runs several studies of one dataset: what one of them has compiled, the next need not.

    Args:
        names: Names of studies.
        dataset: The `Dataset`.
        directory: Path of the folder that has a folder for each. Defaults to `"studies"`.
        **going: `seeds`, `smoke` and `verbose`, as for `run_study`.

    Returns:
        The result of each.
    """
    bench = Bench(dataset, boolean(going.get("smoke", False), "smoke"))
    root = path(directory, "directory")
    return [run_study(name, directory=root / name, bench=bench, **going) for name in names]


def _about(study: Study, bench: Bench, smoke: bool) -> dict[str, Any]:
    import keras

    data = {"name": bench.dataset.name, "fingerprint": fingerprint(bench.dataset)}
    here = {"backend": keras.backend.backend(), "version": __version__}
    return {"study": study.name, "data": data, **here, "smoke": smoke}


def _open(folder: Path, about: Mapping[str, Any]) -> None:
    """Makes the folder of a study, or checks that it is this study's."""
    if (folder / FILE).exists():
        before = read_json(folder / FILE, _ABOUT)
        if other := [name for name in about if before.get(name) != about[name]]:
            raise ValueError(
                f"{folder} must be of the same {', '.join(other)}: another study needs another directory. "
                f"Received: {about[other[0]]!r}, before {before.get(other[0])!r}."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"A study needs a new or empty directory. Received: {folder}, which has content.")
    make_folder(folder / "cells")
    write_json(folder / FILE, about)


def _measured(
    study: Study, bench: Bench, folder: Path, cells: Sequence[tuple[Settings, int]], verbose: Any
) -> list[dict[str, Any]]:
    """Returns the rows of all cells: what is there already is read."""
    bar, rows = Bar(len(cells), verbose, "cells"), []
    try:
        with bar.shown():
            for number, (settings, seed) in enumerate(cells, start=1):
                file = folder / "cells" / f"{directory_name(settings, seed)}.json"
                if not file.exists():
                    bar.start(f"{study.name} {number}/{len(cells)}  {told(settings)}, seed {seed}")
                    measures = _finite(study.measure(bench, settings, seed))
                    write_json(file, {"settings": settings, "seed": seed, "measures": measures})
                    bar.reach(number)
                    gc.collect()
                else:
                    bar.skip_to(number)
                rows.append(_row(file, settings, seed))
    except KeyboardInterrupt as interruption:
        raise TrainingInterrupted(
            f"The study was ended: {len(rows)} of its {len(cells)} cells are measured. To go on, the same again: "
            f"{environment.command()}",
            getattr(interruption, "signal", signal.SIGINT),
        ) from None
    return rows


def _row(file: Path, settings: Settings, seed: int) -> dict[str, Any]:
    found = read_json(file, _CELL)
    if found["settings"] != json.loads(json.dumps(settings)) or found["seed"] != seed:
        received = f"{found['settings']!r}, seed {found['seed']}"
        raise ValueError(f"{file} must be the cell of {settings!r}, seed {seed}. Received: {received}.")
    return {**settings, "seed": seed, **found["measures"]}


def _finite(value: Any) -> Any:
    """Returns measures with `None` for numbers that are not finite, as JSON has them."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return float(value) if math.isfinite(value) else None


def _written(
    study: Study, folder: Path, rows: list[dict[str, Any]], about: Mapping[str, Any], bench: Bench
) -> StudyResult:
    """Writes what a study leaves."""
    constant = {"study": about["study"], "backend": about["backend"], "version": about["version"]}
    constant |= {"data": about["data"]["name"]}
    constant |= {"labels": about["data"]["fingerprint"]["labels"], "pixels": about["data"]["fingerprint"]["pixels"]}
    constant |= {"smoke": about["smoke"]}
    _write_csv(folder / "results.csv", [constant | _scalars(row) for row in rows])
    judged: Sequence[Row] = rows if study.derive is None else study.derive(rows)
    if study.derive is not None:
        _write_csv(folder / "derived.csv", [_scalars(row) for row in judged])
    conclusions = [(claim, judge(claim, judged)) for claim in study.claims]
    charts = study.charts(judged)
    draw_all(charts, folder)
    page = report(study, judged, conclusions, charts, folder, _setting(about, bench, rows))
    with written_file(folder / "report.html") as aside:
        aside.write_text(page, encoding="utf-8")
    return StudyResult(folder, rows, conclusions)


def _setting(about: Mapping[str, Any], bench: Bench, rows: Sequence[Row]) -> dict[str, str]:
    """Returns what the report says of data, machine and command."""
    here, processor = environment.record(), environment.processor()
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    size = "x".join(map(str, bench.dataset.image_shape))
    return {
        "Command": environment.command(),
        "Data": f"{bench.dataset.name}, images of {size}, {len(bench.dataset.train):,} to train on of which the "
        f"studies take some, {len(bench.dataset.validation):,} for validation; the test images are not looked at",
        "Cells": f"{len(rows)}, seeds {', '.join(map(str, sorted({row['seed'] for row in rows})))}",
        "Size": "a smoke test, which shows that the study runs and decides nothing" if about["smoke"] else "",
        "Backend": f"{here['backend']} on {here['device']}",
        "Processor": f"{processor['model']}, {processor['usable_cores']} cores",
        "Versions": f"Python {here['python']}, {versions}",
    }


def _scalars(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not isinstance(value, list | tuple)}


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    with written_file(file) as aside:
        aside.write_bytes(text.getvalue().encode(errors="backslashreplace"))
