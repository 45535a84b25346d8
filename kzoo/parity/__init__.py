"""Whether two backends, devices or versions compute the same: record on each, then compare the recordings."""

from kzoo.parity.comparison import Comparison, Row, compare
from kzoo.parity.recorder import parity_recipe, record
from kzoo.parity.recording import Recording
from kzoo.parity.report import write_report
from kzoo.parity.tolerances import TOLERANCES, Tolerance

__all__ = [
    "TOLERANCES",
    "Comparison",
    "Recording",
    "Row",
    "Tolerance",
    "compare",
    "parity_recipe",
    "record",
    "write_report",
]
