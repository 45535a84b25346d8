"""The studies by name."""

import importlib

from kzoo.choices import STUDIES, check_choice
from kzoo.studies.study import Study


def find_study(name: str) -> Study:
    """Returns a study.

    Args:
        name: String, one of `"capacity"`, `"early_stopping"`, `"dropout"`, `"batch_norm"` and `"residual"`.

    Raises:
        ValueError: If there is no such study.
    """
    check_choice("name", name, STUDIES)
    study: Study = importlib.import_module(f"kzoo.studies.{name}").STUDY
    return study
