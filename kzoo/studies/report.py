"""The report of a study: one page that holds all that it shows, and asks nobody for anything."""

import base64
import html
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.studies.conclusions import Conclusion
from kzoo.studies.study import Chart, Claim, Row, Study

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --page: #ffffff; --line: #c8c8c8; --soft: #f2f4f6;
  --soft-ink: #4a4a4a; --yes: #005a8c; --no: #a63f00; --open: #5b5b5b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --page: #15181b; --line: #454b50; --soft: #20252a;
  --soft-ink: #b9bec3; --yes: #7cc4f0; --no: #ffa766; --open: #b9bec3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 52rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--page); overflow-wrap: break-word; }
h1 { line-height: 1.2; } h2 { margin-top: 2rem; border-bottom: 1px solid var(--line); }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .3rem 1rem; } dt { font-weight: 600; }
dd { margin: 0; min-width: 0; }
.claim { margin: 1rem 0; padding: .6rem 1rem; background: var(--soft); border-left: .35rem solid var(--open); }
.claim.supported { border-color: var(--yes); } .claim.contradicted { border-color: var(--no); }
.claim p { margin: .3rem 0; } .verdict { font-weight: 700; color: var(--open); }
.supported .verdict { color: var(--yes); } .contradicted .verdict { color: var(--no); }
.soft { color: var(--soft-ink); font-size: .92rem; }
figure { margin: 1.2rem 0; } img { width: 100%; max-width: 40rem; height: auto; display: block; margin: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; } th.name, td.name { text-align: left; }
code { font-size: .88rem; } pre { padding: .6rem; background: var(--soft); white-space: pre-wrap; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .5rem; } }
@media print { :root { font-size: 10pt; --ink: #000; --page: #fff; --soft: #fff; --line: #999; --soft-ink: #333;
  --yes: #005a8c; --no: #a63f00; --open: #444; } body { max-width: none; }
  figure, .claim, tr { break-inside: avoid; } .wide { overflow: visible; } th, td { padding: .15rem .3rem; }
  table { font-size: 8pt; } th, td { white-space: normal; } }
"""


def report(
    study: Study,
    rows: Sequence[Row],
    conclusions: Sequence[tuple[Claim, Conclusion]],
    charts: Sequence[Chart],
    folder: Path,
    setting: Mapping[str, Any],
) -> str:
    """Returns the HTML of a study's report.

    Args:
        study: The `Study`.
        rows: Its rows, of which the table is made.
        conclusions: Its claims, with what the numbers say of each.
        charts: Its charts, whose PNGs are in `folder`.
        folder: Path of the folder.
        setting: What to say of the data, the machine and the command, heading to text.
    """
    said = [
        ("Question", study.question),
        ("What varies", study.varies),
        ("What is held", study.held),
        ("What is measured", study.measured),
        ("Reference", study.reference),
    ]
    body = [
        f"<h1>{_text(study.title)}</h1>",
        _list(said),
        "<h2>What the numbers say</h2>",
        '<p class="soft">Computed from the table by rule: the mean over the seeds of the difference within each seed, '
        "with Student's 95 % interval. The claim is supported where the whole interval is on its side, contradicted "
        "where it is on the other side, and undecided in between, and with fewer than three seeds.</p>",
        *(_claim(claim, conclusion) for claim, conclusion in conclusions),
        "<h2>Charts</h2>",
        '<p class="soft">Mean over the seeds; bars are one standard deviation. The table below has the numbers.</p>',
        *(_figure(chart, folder) for chart in charts),
        "<h2>Table</h2>",
        '<p class="soft">Mean &#177; standard deviation of the n seeds that gave a value.</p>',
        _table(study, rows),
        "<h2>Setting</h2>",
        _list(list(setting.items())),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{_text(study.title)}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def summary(study: Study, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns a row for each group of settings: of each measure the mean, the standard deviation and the number.

    Args:
        study: The `Study`.
        rows: Its rows.
    """
    groups = dict[tuple[Any, ...], list[Row]]()
    for row in rows:
        groups.setdefault(tuple(row[name] for name in study.group), []).append(row)
    found = []
    for settings, of_group in groups.items():
        line: dict[str, Any] = dict(zip(study.group, settings, strict=True))
        for measure in study.columns:
            values = [float(row[measure]) for row in of_group if row.get(measure) is not None]
            mean = statistics.fmean(values) if values else None
            line[measure] = (mean, statistics.stdev(values) if len(values) > 1 else None, len(values))
        found.append(line)
    return found


def _claim(claim: Claim, conclusion: Conclusion) -> str:
    kind = conclusion.verdict.split()[0]
    return (
        f'<div class="claim {kind}"><p><strong>Claim:</strong> {_text(claim.statement)}</p>'
        f'<p class="soft">What would refute it: {_text(claim.refuted_by)}</p>'
        f'<p><span class="verdict">{_text(conclusion.verdict.capitalize())}.</span> '
        f"{_text(conclusion.sentence(claim.quantity))}</p></div>"
    )


def _figure(chart: Chart, folder: Path) -> str:
    light, dark = (_data(folder / f"{chart.name}{ending}.png") for ending in ("", "-dark"))
    labels = ", ".join(line.label for line in chart.lines if line.points and line.label)
    told = f"{chart.title}: {chart.y} over {chart.x}" + (f"; lines: {labels}" if labels else "")
    return (
        f'<figure><picture><source media="screen and (prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" width="728" height="546" alt="{_text(told)}"></picture></figure>'
    )


def _data(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(study: Study, rows: Sequence[Row]) -> str:
    lines = summary(study, rows)
    shown = [name for name in study.columns if any(line[name][2] for line in lines)]
    names = [name.replace("_", " ") for name in study.group]
    head = "".join(f'<th class="name">{_text(name)}</th>' for name in names)
    head += "".join(f"<th>{_text(study.columns[name])}</th>" for name in shown) + "<th>n</th>"
    body = []
    for line in lines:
        cells = "".join(f'<td class="name">{_text(_setting(line[name]))}</td>' for name in study.group)
        cells += "".join(f"<td>{_spread(*line[name])}</td>" for name in shown)
        body.append(f"<tr>{cells}<td>{max((line[name][2] for name in shown), default=0)}</td></tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _setting(value: Any) -> Any:
    return "\u2013" if value is None else value


def _spread(mean: float | None, deviation: float | None, _: int) -> str:
    if mean is None:
        return "&#8211;"
    return f"{mean:.4g}" if deviation is None else f"{mean:.4g} &#177; {deviation:.2g}"


def _list(items: Sequence[tuple[str, Any]]) -> str:
    pairs = (f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in items if value)
    return f"<dl>{''.join(pairs)}</dl>"


def _text(value: Any) -> str:
    return html.escape(str(value))
