"""What people look at before they train."""

import os
import re

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data.report import look_at, survey


@pytest.fixture
def photos(tmp_path):
    random = np.random.RandomState(0)
    for split, count in (("train", 10), ("test", 4)):
        for i in range(count):
            path = tmp_path / "photos" / split / ("cat", "<dog>")[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.randint(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    (tmp_path / "photos" / "notes.txt").touch()
    (tmp_path / "photos" / "train" / "cat" / "Thumbs.db").touch()
    return tmp_path / "photos"


def test_files_are_counted(photos):
    seen, decoding = survey(photos)
    assert decoding == kzoo.Decoding()
    assert seen["files"] == 14
    assert seen["classes"] == {"train": {"<dog>": 5, "cat": 5}, "test": {"<dog>": 2, "cat": 2}}
    assert (seen["sizes"], seen["modes"], seen["formats"], seen["orientations"]) == (
        {"8x8": 14},
        {"RGB": 14},
        {"PNG": 14},
        {1: 14},
    )
    assert seen["ignored"] == {"sidecar": 1, "junk": 1}
    assert (seen["unreadable"], seen["duplicates"], seen["leaked"]) == ({}, [], [])


def test_doubles_and_what_cannot_be_read_are_told(photos):
    again, leaked = photos / "train" / "cat" / "again.png", photos / "test" / "cat" / "leaked.png"
    again.write_bytes((photos / "train" / "cat" / "0.png").read_bytes())
    leaked.write_bytes((photos / "train" / "cat" / "2.png").read_bytes())
    (photos / "train" / "cat" / "broken.png").write_bytes(b"no image")
    seen = look_at(str(photos))
    assert seen["duplicates"] == [
        ["train/cat/0.png", "train/cat/again.png"],
        ["train/cat/2.png", "test/cat/leaked.png"],
    ]
    assert seen["leaked"] == [["train/cat/2.png", "test/cat/leaked.png"]]
    assert list(seen["unreadable"]) == ["train/cat/broken.png"]
    assert "BytesIO" not in seen["unreadable"]["train/cat/broken.png"]


@pytest.mark.parametrize(("suffix", "sideways"), [(s, o) for s in ("jpg", "png", "webp", "tiff") for o in (3, 6)])
def test_sizes_are_those_of_upright_images(photos, suffix, sideways):
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = sideways
    image.save(photos / "train" / "cat" / f"turned.{suffix}", exif=exif)
    seen = look_at(str(photos))
    assert seen["sizes"] == {"8x8": 14, {3: "20x30", 6: "30x20"}[sideways]: 1}
    assert seen["orientations"] == {1: 14, sideways: 1}


def test_files_are_decoded_once(photos, monkeypatch):
    decoded = []
    decode = kzoo.Decoding.decode
    monkeypatch.setattr(kzoo.Decoding, "decode", lambda self, *rest: decoded.append(1) or decode(self, *rest))
    look_at(str(photos))
    assert 0 < len(decoded) <= 15  # the first tells the size
    decoded.clear()
    look_at(str(photos))
    assert not decoded


def test_images_of_different_sizes_are_looked_at_all_the_same(photos):
    Image.new("L", (30, 20)).save(photos / "train" / "cat" / "wide.jpg")
    seen = look_at(str(photos))
    assert seen["sizes"] == {"8x8": 14, "20x30": 1}
    assert seen["modes"] == {"RGB": 14, "L": 1}
    assert seen["image_shape"] == [64, 64, 3]


def test_report_is_one_page_that_shows_all(photos, tmp_path):
    assert look_at(str(photos), tmp_path / "r.html")["files"] == 14
    page = (tmp_path / "r.html").read_text()
    assert "<h1>photos</h1>" in page
    assert "&lt;dog&gt;" in page
    assert "<dog>" not in page
    assert len(re.findall("data:image/png;base64", page)) == 1 + 2 * 5 - 2  # a tenth of each class is held out
    assert "http" not in page.replace("http-equiv", "")


def test_names_of_no_encoding_are_shown(photos, tmp_path):
    folder = os.fsencode(photos / "train" / "cat")
    for name in (b"\xff.png", b"\xfe.png"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write((photos / "train" / "cat" / "0.png").read_bytes())
    with open(os.path.join(folder, b"caf\xe9.png"), "wb") as file:
        file.write(b"no image")
    seen = look_at(str(photos), tmp_path / "r.html")
    assert seen["duplicates"] == [["train/cat/0.png", r"train/cat/\udcfe.png", r"train/cat/\udcff.png"]]
    assert list(seen["unreadable"]) == [r"train/cat/caf\udce9.png"]
    assert r"caf\udce9.png" in (tmp_path / "r.html").read_text()
    os.rename(folder, os.path.join(os.path.dirname(folder), b"ch\xe2t"))
    os.rename(photos / "test" / "cat", os.path.join(os.fsencode(photos / "test"), b"ch\xe2t"))
    look_at(str(photos), tmp_path / "r.html")
    assert r"ch\udce2t" in (tmp_path / "r.html").read_text()


def test_report_replaces_nothing_but_a_file(photos, tmp_path):
    with pytest.raises(FileNotFoundError, match="`report` must be a file in a folder that exists"):
        look_at(str(photos), tmp_path / "none" / "r.html")
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="`report` must be the name of a file.*which is something else"):
            look_at(str(photos), other)
    (tmp_path / ".env").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "r.html")
    look_at(str(photos), tmp_path / "env")
    look_at(str(photos), tmp_path / "link")
    assert (tmp_path / ".env").read_text() == "kept"
    assert (tmp_path / "link").is_symlink()
    assert "<h1>photos</h1>" in (tmp_path / "r.html").read_text()


def test_names_come_before_folders_as_in_training(photos, tmp_path, monkeypatch):
    photos.rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert "files" not in look_at("digits")


def test_data_without_files_are_looked_at_too(tmp_path):
    assert look_at("digits", tmp_path / "r.html")["images"]["test"] == 359
    assert "<h1>digits</h1>" in (tmp_path / "r.html").read_text()
    assert kzoo.load_dataset("digits").name == "digits"
