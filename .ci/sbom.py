"""Writes down what an environment with kzoo holds, as CycloneDX: `python .ci/sbom.py INTERPRETER OUT.cdx.json`."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(interpreter: str, out: Path) -> None:
    """Writes the file. cyclonedx-py takes no version from anywhere but pyproject.toml, so it is given one with it."""
    found = re.search(r'__version__ = "(.+)"', (ROOT / "kzoo/__init__.py").read_text())
    assert found is not None
    about = (ROOT / "pyproject.toml").read_text().replace('dynamic = ["version"]', f'version = "{found[1]}"')
    out.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pyproject = Path(folder, "pyproject.toml")
        pyproject.write_text(about)
        options = ["--pyproject", str(pyproject), "--mc-type", "library", "--output-reproducible"]
        command = [sys.executable, "-m", "cyclonedx_py", "environment", *options, "--output-file", str(out)]
        subprocess.run([*command, interpreter], check=True)
    print(f"{out}: what kzoo {found[1]} runs on")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
