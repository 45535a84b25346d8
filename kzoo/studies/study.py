"""What a study is: a question, what varies, what is held, what is measured, and what would refute the claims."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kzoo.studies.bench import Bench

Settings = dict[str, Any]
Measures = dict[str, Any]  # of one cell: name to a number, `None` where there is none, or a list of numbers
Row = Mapping[str, Any]  # a cell: its settings, its seed and its measures together
Value = Callable[[Sequence[Row]], float | None]  # from the rows of one seed to the number that a claim is about
Expected = Literal["larger", "smaller"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is claimed of a technique, in a form that numbers can refute.

    Attributes:
        statement: The claim, as a sentence.
        refuted_by: What measurement would contradict it.
        this: Value of the rows of one seed, with the technique.
        other: The same without it, by the same seed.
        expected: Whether `this` should be `"larger"` or `"smaller"` than `other`.
        quantity: What the values are, with their unit, for example `"the gap of the loss (nats)"`.
        least: The smallest difference that counts, so that mere rounding supports nothing. Defaults to `0.0`.
    """

    statement: str
    refuted_by: str
    this: Value
    other: Value
    expected: Expected
    quantity: str
    least: float = 0.0


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: What the legend calls it.
        points: Position on the horizontal axis, a number or a name, to the values of all seeds there.
    """

    label: str
    points: dict[Any, list[float]]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart of means with their standard deviations.

    Attributes:
        name: Name of the PNG, without its ending.
        title: What is to be seen, as a short sentence.
        x: Label of the horizontal axis, with the unit.
        y: Label of the vertical axis, with the unit.
        lines: The lines.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is logarithmic.
    """

    name: str
    title: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False
    log_y: bool = False


@dataclasses.dataclass(frozen=True)
class Study:
    """An experiment: a grid of settings, each measured with several seeds.

    Attributes:
        name: The name that `kzoo study` takes.
        title: The question in a few words.
        question: The question.
        varies: What differs between the settings.
        held: What is the same in all of them.
        measured: What is measured, and how.
        claims: What is claimed.
        grid: From `smoke`, whether the study is to be short, to the settings.
        measure: Measures one cell, from the bench, its settings and the seed.
        charts: From all rows to the charts.
        columns: Measure to its heading in the report's table, with the unit.
        group: Settings that the rows of the report's table differ in.
        seeds: How many seeds there are where nobody says. Defaults to `5`.
        reference: The papers. Defaults to none.
        derive: From the rows of the cells to those that claims, charts and the table are made from, or `None` where
            they are the same. Defaults to `None`.
    """

    name: str
    title: str
    question: str
    varies: str
    held: str
    measured: str
    claims: tuple[Claim, ...]
    grid: Callable[[bool], list[Settings]]
    measure: Callable[["Bench", Settings, int], Measures]
    charts: Callable[[Sequence[Row]], list[Chart]]
    columns: dict[str, str]
    group: tuple[str, ...]
    seeds: int = 5
    reference: str = ""
    derive: Callable[[Sequence[Row]], list[Row]] | None = None


def matches(row: Row, settings: Mapping[str, Any]) -> bool:
    """Returns whether a row has these settings."""
    return all(name in row and row[name] == value for name, value in settings.items())


def of(measure: str, **settings: Any) -> Value:
    """Returns the value that is a measure of the cells with these settings, on average.

    Args:
        measure: Name of the measure.
        **settings: What the cells must have.
    """

    def value(rows: Sequence[Row]) -> float | None:
        found = [row.get(measure) for row in rows if matches(row, settings)]
        numbers = [float(one) for one in found if one is not None]
        return statistics.fmean(numbers) if numbers and len(numbers) == len(found) else None

    return value


def line(label: str, rows: Sequence[Row], x: str, y: str, **settings: Any) -> Line:
    """Returns a measure of all rows with some settings over another setting.

    Args:
        label: What the legend calls it.
        rows: The rows.
        x: Name of the setting on the horizontal axis.
        y: Name of the measure.
        **settings: What the rows must have.
    """
    points = dict[Any, list[float]]()
    for row in rows:
        if matches(row, settings) and row.get(y) is not None:
            points.setdefault(row[x], []).append(float(row[y]))
    return Line(label, points)


def curve(label: str, rows: Sequence[Row], y: str, **settings: Any) -> Line:
    """Returns a measure that is a list, over the numbers of its elements from 1, for example epochs.

    Args:
        label: What the legend calls it.
        rows: The rows.
        y: Name of the measure.
        **settings: What the rows must have.
    """
    points = dict[Any, list[float]]()
    for row in rows:
        if matches(row, settings):
            for number, one in enumerate(row.get(y) or [], start=1):
                if one is not None:
                    points.setdefault(number, []).append(float(one))
    return Line(label, points)
