"""Small real data: image files, folders of them, and archives in the layouts of their publishers."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import Split


def encoded(color: int = 0, size: tuple[int, int] = (4, 3), mode: str = "RGB", file_format: str = "PNG") -> bytes:
    """An image file of one grey level; `size` is (height, width)."""
    file = io.BytesIO()
    Image.new("L", (size[1], size[0]), color).convert(mode).save(file, file_format)
    return file.getvalue()


@pytest.fixture(name="encoded")
def encoded_fixture() -> Callable[..., bytes]:
    return encoded


@pytest.fixture
def tree() -> dict[str, bytes]:
    """An image folder as a dictionary: two classes, three training images each, one test image each."""
    files = {f"train/{name}/{i}.png": encoded(10 * i + c) for c, name in enumerate(("cat", "dog")) for i in range(3)}
    return files | {"test/cat/9.png": encoded(90), "test/dog/9.png": encoded(91)}


@pytest.fixture(params=["folder", "zip"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Writes an image folder, once as a folder and once as a zip. A name that ends in `/` makes an empty folder."""

    def write_folder(files: dict[str, bytes]) -> Path:
        root = tmp_path / "pets"
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (root / name).mkdir()
            else:
                (root / name).write_bytes(data)
        return root

    def write_zip(files: dict[str, bytes]) -> Path:
        path = tmp_path / "pets.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path

    return write_folder if request.param == "folder" else write_zip


@pytest.fixture
def numbered() -> Split:
    """Ten 8x8 images whose every pixel is their number plus 1, of two classes in turn."""
    levels = np.arange(1, 11, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (10, 8, 8, 3)).copy()
    return Split(images, np.arange(10, dtype=np.int64) % 2)
