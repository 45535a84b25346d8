"""What the tests of the command line share."""

import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from kzoo.cli import main


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A folder of 12x12 images of three colours."""
    root = tmp_path_factory.mktemp("data") / "colours"
    random = np.random.RandomState(0)
    for split, count in (("train", 20), ("test", 8)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = random.randint(0, 120, (12, 12, 3))
                image[..., channel] += 100
                Image.fromarray(image.astype(np.uint8)).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture
def program(monkeypatch, capsys):
    """Returns a function that runs the program in this process, and returns its exit status and what it said."""

    def run(*arguments):
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        code = left.value.code
        return (1, f"{said.err}{code}") if isinstance(code, str) else (code or 0, said.err)

    return run
