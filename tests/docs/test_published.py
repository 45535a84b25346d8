"""The block of the tutorial that needs the network, with the checkpoint from elsewhere."""

import re
from pathlib import Path

import pytest

import kzoo

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "from-pytorch.md"


def python_block(heading):
    """Returns the first block of Python under a heading."""
    _, _, section = PAGE.read_text().partition(f"\n## {heading}\n")
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


@pytest.mark.shared
def test_published_weights_run_as_written(shared, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="a checkpoint is converted by PyTorch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KZOO_HOME", str(tmp_path))
    kzoo.add_preset(shared / "weights" / "akamaster" / kzoo.preset_info("akamaster_resnet20").file)  # no download
    names = {}
    exec(python_block("Load a published network"), names)
    assert names["features"].output_shape == (None, 64)
