"""The commands `kzoo study` and `kzoo explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import kzoo
from kzoo.choices import STUDIES, check_choice
from kzoo.cli.interruption import interruption_told
from kzoo.cli.options import AsJson, Data, DataDir, ImageSize
from kzoo.cli.showing import cell, show, table

if TYPE_CHECKING:
    from kzoo.studies import StudyResult

ALL = "all"

app = typer.Typer()


def _complete_study(incomplete: str) -> list[str]:
    return [name for name in (*STUDIES, ALL) if name.startswith(incomplete)]


@app.command()
def study(
    name: Annotated[
        str, typer.Argument(help="Which study.", metavar="|".join((*STUDIES, ALL)), autocompletion=_complete_study)
    ],
    data: Data = "digits",
    smoke: Annotated[bool, typer.Option("--smoke", help="Short: shows that it runs, and decides nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the studies.")] = Path("studies"),
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds: 0, 1, ...", show_default="3 to 20; 1 in a smoke test")
    ] = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what a technique is worth, and write a report; the same command goes on."""
    from kzoo.studies.running import DIGITS_SIZE, run_studies

    names = _names(name)
    size = DIGITS_SIZE if data == "digits" and image_size is None else image_size
    dataset = kzoo.load_dataset(data, data_dir=data_dir, image_size=size)
    with interruption_told():
        found = run_studies(names, dataset, out, seeds=seeds, smoke=smoke, verbose=0 if quiet else "auto")
    if as_json or not quiet:
        show(_conclusions(found), as_json, _table(found))


def _names(name: str) -> list[str]:
    check_choice("name", name, (*STUDIES, ALL))
    return [*STUDIES] if name == ALL else [name]


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    image: Annotated[Path, typer.Argument(help="Image file.")],
    target: Annotated[int | None, typer.Option(help="Number of the class.", show_default="the likeliest")] = None,
    picture: Annotated[Path, typer.Option(help="Where to draw it.")] = Path("explanation.png"),
    as_json: AsJson = False,
) -> None:
    """Draw what a trained network looks at in an image (Grad-CAM), and what each residual block changes."""
    from kzoo.explaining import explain_file

    opened = kzoo.Run(run)
    found = explain_file(opened, image, target, picture=picture)
    name = opened.class_names[found.target]
    content = {"class": name, "layer": found.layer, "changes": found.changes, "picture": picture}
    show(content, as_json, _changes_table(content))


def _changes_table(content: dict[str, Any]) -> Table:
    rows = table("block", "change / input")
    for block, change in content["changes"].items():
        rows.add_row(cell(block), cell(change))
    rows.caption = f"class {content['class']}, looked at in {content['layer']}; picture: {content['picture']}"
    return rows


def _conclusions(found: "list[StudyResult]") -> list[dict[str, Any]]:
    return [
        {
            "study": result.directory.name,
            "claim": claim.statement,
            "verdict": conclusion.verdict,
            "numbers": conclusion.sentence(claim.quantity),
            "report": result.directory / "report.html",
        }
        for result in found
        for claim, conclusion in result.conclusions
    ]


def _table(found: "list[StudyResult]") -> Table:
    rows = table("study", "claim", "verdict")
    for one in _conclusions(found):
        rows.add_row(*(cell(one[name]) for name in ("study", "claim", "verdict")))
    rows.caption = "reports: " + ", ".join(str(result.directory / "report.html") for result in found)
    return rows
