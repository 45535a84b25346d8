import shutil

from commands import kzoo_command, printed_json
from PIL import Image


def test_data_prepare_and_info(colours, tmp_path):
    prepared = printed_json("data", "prepare", "colours", "--from", colours, "--data-dir", tmp_path)
    assert (tmp_path / "colours").is_dir()
    assert prepared["directory"].startswith(str(tmp_path))
    info = printed_json("data", "info", "colours", "--data-dir", tmp_path)
    assert info["images"] == {"train": 54, "validation": 6, "test": 24}


def test_info_says_none_where_nothing_is_found(colours):
    said = kzoo_command("data", "info", colours).stdout.splitlines()
    assert {"unreadable: none", "leaked: none"} <= set(said)


def test_info_says_what_few_images_need(colours):
    assert "Train with --batch-size 16." in kzoo_command("data", "info", colours).stdout
    assert "--batch-size" not in kzoo_command("data", "info", "digits", "--image-size", 8).stdout


def test_info_says_what_images_of_different_sizes_need(colours, tmp_path):
    photos = shutil.copytree(colours, tmp_path / "photos")
    assert "--image-size" not in kzoo_command("data", "info", photos).stdout
    file = next(photos.rglob("*.png"))
    Image.open(file).resize((20, 30)).save(file)
    assert "A training needs one, such as --image-size 64." in kzoo_command("data", "info", photos).stdout
    assert "--image-size" not in kzoo_command("data", "info", photos, "--image-size", 16).stdout
