"""The notebooks run on the backend of the tests, and what is committed of them is whole, small and of no machine."""

import re
from pathlib import Path

import nbformat
import pytest
from notebooks import NOTEBOOKS, executed

NAMES = ["first-steps", "techniques", "transfer"]
# A path of somebody's files, or of a temporary folder.
PATHS = re.compile(r"(/home|/root|/tmp|/usr|/var|/opt|/work|/Users|/content|site-packages|[A-Z]:\\\\)")
MOST_BYTES = 300_000


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_notebooks_are_all_here():
    assert [file.stem for file in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("file", NOTEBOOKS, ids=NAMES)
def test_notebook_runs(file: Path, tmp_path: Path):
    found = outputs(executed(file, tmp_path))  # raises the first error of a cell
    assert [output.output_type for output in found].count("display_data") >= 2
    assert list(tmp_path.iterdir()) == []  # nothing is left in the reader's folder


@pytest.mark.parametrize("file", NOTEBOOKS, ids=NAMES)
def test_committed_outputs_are_whole_small_and_of_no_machine(file: Path):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [
        output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"
    ] == []
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))
    shown = [
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in outputs(notebook)
    ]
    assert [text for text in shown if PATHS.search(text)] == []
    assert file.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("file", NOTEBOOKS, ids=NAMES)
def test_notebook_starts_with_colab_backend_and_installation(file: Path):
    notebook = nbformat.read(file, as_version=4)
    assert (
        f"](https://colab.research.google.com/github/kzoo/kzoo/blob/main/docs/notebooks/{file.name})"
        in notebook.cells[0].source
    )
    backend, installation = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    assert 'os.environ.setdefault("KERAS_BACKEND", "torch")' in backend
    assert 'if importlib.util.find_spec("kzoo") is None:\n    %pip install' in installation
