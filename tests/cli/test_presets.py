import numpy as np
import pytest
from commands import kzoo_command, printed_json

import kzoo


def test_weights_list_names_all_of_them():
    assert [entry["name"] for entry in printed_json("weights", "list")] == kzoo.list_weights()
    assert "akamaster_resnet110" in kzoo_command("weights", "list").output


def test_weights_info_shows_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_HOME", str(tmp_path))
    info = kzoo_command("weights", "info", "akamaster_resnet32").output
    assert "sha256_known: only the first 8 digits are published" in info
    assert "published_top1: 0.9263" in info
    assert "cached: None" in info


@pytest.mark.shared
def test_import_converts_a_checkpoint(shared, tmp_path):
    pytest.importorskip("torch")
    checkpoint = shared / "weights" / "akamaster" / "resnet20-12fca82f.th"
    out = tmp_path / "aka.weights.h5"
    options = ["--layout", "akamaster", "--out", out]
    result = kzoo_command("import", checkpoint, "--model", "resnet20", *options)
    assert "resnet20, 10 classes" in result.output
    model = kzoo.resnet20()
    kzoo.load_torch_checkpoint(model, checkpoint, layout="akamaster")
    for a, b in zip(model.get_weights(), kzoo.resnet20(weights=out).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"module\.layer1\.3\.conv1\.weight is missing"):
        kzoo_command("import", checkpoint, "--model", "resnet56", *options)
