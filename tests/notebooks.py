"""Runs the notebooks of docs/notebooks, and writes their outputs: `python tests/notebooks.py` runs all of them."""

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TIMEOUT_SECONDS = 600  # for one cell


def executed(file: Path, directory: Path) -> Any:
    """Returns a notebook as it is after all its cells have run in a folder. The first error of a cell is raised."""
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(
        notebook, timeout=TIMEOUT_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(directory)}}
    )
    # Where the caller draws to no screen, the kernel still has to show its pictures.
    client.execute(env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    return cleaned(notebook)


def cleaned(notebook: Any) -> Any:
    """Returns a notebook without what depends on the machine and the moment: times, versions, warnings."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
            for output in cell.outputs:
                output.pop("metadata", None)
                if output.output_type in ("display_data", "execute_result"):
                    output.metadata = {}
    return notebook


def main() -> None:
    """Runs the notebooks that are named, or all, and writes what came out into their files."""
    for file in map(Path, sys.argv[1:] or NOTEBOOKS):
        nbformat.write(executed(file, file.parent), file)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
