from commands import printed_json


def test_data_prepare_and_info(colours, tmp_path):
    prepared = printed_json("data", "prepare", "colours", "--from", colours, "--data-dir", tmp_path)
    assert (tmp_path / "colours").is_dir()
    assert prepared["directory"].startswith(str(tmp_path))
    info = printed_json("data", "info", "colours", "--data-dir", tmp_path)
    assert info["images"] == {"train": 54, "validation": 6, "test": 24}
