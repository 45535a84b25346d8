"""What a table of images consists of."""

from typing import Any, NamedTuple

# What people call the columns, whatever the case.
COLUMNS = {
    "image": ("image", "img", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "fine_label"),
    "split": ("split", "set", "subset", "partition"),
    "weight": ("weight", "sample_weight"),
}

Row = dict[str, Any]


class Rows(NamedTuple):
    """What is in a table.

    Attributes:
        rows: A dictionary a row.
        columns: Names of all columns.
        classes: Column to the names of its classes, where the table has them.
    """

    rows: list[Row]
    columns: list[str]
    classes: dict[str, list[str]]
