"""Datasets, image files, weights and requests."""

import base64
import functools
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz.of_runs import archive, member, zipped
from fuzz.target import coded, target
from PIL import Image

from kzoo.data import Decoding
from kzoo.data import images as of_images
from kzoo.data.cache import cached_entries, decoded
from kzoo.data.cached import CachedExamples
from kzoo.data.folder import read_image_folder
from kzoo.data.items import Item
from kzoo.data.npz import read_npz
from kzoo.data.prepare import prepare_dataset
from kzoo.data.prepared import read_prepared
from kzoo.data.rows import table_files
from kzoo.data.tables import read_table
from kzoo.presets.checkpoint import read_checkpoint
from kzoo.serving import Limits
from kzoo.serving.json_bodies import read_json as read_body
from kzoo.serving.requests import asked_by_v1, asked_by_v2, most_lists, pixels_of
from kzoo.serving.tensors import read_tensor

SMALL = Decoding((2, 2))
MOST_PIXELS = 1 << 16  # larger images are no fault, and slow


def picture(mode: str = "RGB", suffix: str = "PNG", size: tuple[int, int] = (3, 2), **options: Any) -> bytes:
    """Returns an image file."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, suffix, **options)
    return file.getvalue()


PNG = picture()


def images() -> list[bytes]:
    """Returns image files of many kinds, turned and transparent ones too."""
    turned = Image.Exif()
    turned[0x0112] = 6
    modes = [picture(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    clear = [picture("P", transparency=0), picture("L", transparency=0), picture("RGB", transparency=(0, 0, 0))]
    others = [picture(suffix=suffix, exif=turned) for suffix in ("JPEG", "PNG", "WEBP", "TIFF")]
    return [
        *modes,
        *clear,
        *others,
        picture("P", "GIF"),
        picture("L", "PPM"),
        picture("F", "TIFF"),
        picture("1", "BMP"),
    ]


@target("picture", images)
def image(content, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_images, "LARGEST", MOST_PIXELS)
        for decoding in (Decoding(channels=4), SMALL):
            pixels = decoding.decode(content, "picture")
            assert pixels.dtype == np.uint8
            assert pixels.shape[-1] == decoding.channels


def loaded(parts: Any) -> None:
    """Takes a dataset that was read for what it says that it is."""
    labels = [part.labels for part in (parts.train, parts.validation, parts.test) if part is not None]
    assert all(found.min() >= 0 and found.max() < len(parts.class_names) for found in labels)
    assert len(set(parts.class_names)) == len(parts.class_names)
    assert parts.train.read([0]).dtype == np.uint8


def table(folder: Path, name: str, content: bytes) -> None:
    """Reads a table beside which there are two images."""
    (folder / "a.png").write_bytes(PNG)
    (folder / "b.png").write_bytes(PNG)
    (folder / name).write_bytes(content)
    loaded(read_table(folder / name, SMALL, cache=False))


CSV = [
    b"image,label\na.png,cat\nb.png,dog\n",
    b'\xef\xbb\xbffile_name;class;split;weight\r\na.png;1;train;0.5\r\n"b.png";2;test;\r\n',
    b"path\tlabel\na.png\t3\nb.png\t1\n",
]


@target("table.csv", lambda: CSV)
def csv_table(content, folder):
    table(folder, "table.csv", content)


LINES = [
    b'{"image": "a.png", "label": 1, "split": "train", "weight": 3e38}\n',
    b'{"image": "a.png", "label": 1, "split": "train", "weight": 1}\n',
    b'{"image": "a.png", "label": 1}\n{"image": "b.png", "label": 0, "weight": 0.5}\n',
]


@target("table.jsonl", lambda: LINES)
def json_lines(content, folder):
    table(folder, "table.jsonl", content)


def arrow_table(features: bytes | None = None) -> Any:
    """Returns a table of Arrow, with features as Hugging Face has them."""
    import pyarrow

    columns = {"image": [{"bytes": PNG, "path": None}, {"bytes": PNG, "path": "b"}], "label": [0, 1]}
    found = pyarrow.table(columns)
    return found if features is None else found.replace_schema_metadata({"huggingface": features})


def parquet_of(content: Any) -> bytes:
    """Returns a Parquet file."""
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(content, file)
    return file.getvalue()


def stream_of(content: Any) -> bytes:
    """Returns an Arrow file as `save_to_disk` writes it."""
    import pyarrow

    file = io.BytesIO()
    with pyarrow.ipc.new_stream(file, content.schema) as writer:
        writer.write_table(content)
    return file.getvalue()


FEATURES = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}


@target("table.parquet", lambda: [parquet_of(arrow_table(coded(FEATURES)))], by_kzoo=False, examples=50)
def parquet(content, folder):
    table(folder, "table.parquet", content)


@target("table.parquet", lambda: [coded(FEATURES)], by_kzoo=False, examples=30)
def hugging_face_features(content, folder):
    table(folder, "table.parquet", parquet_of(arrow_table(content)))


@target("saved", lambda: [stream_of(arrow_table(coded(FEATURES)))], by_kzoo=False)
def arrow(content, folder):
    saved(folder, "data.arrow", content)


@target("saved", lambda: [coded({"_data_files": [{"filename": "data.arrow"}], "_indices_files": None})])
def arrow_state(content, folder):
    saved(folder, "state.json", content)


def saved(folder: Path, name: str, content: bytes) -> None:
    """Reads what `save_to_disk` wrote, in which one file is as given."""
    folder = folder / "saved"
    folder.mkdir(exist_ok=True)
    state = {"_data_files": [{"filename": "data.arrow"}]}
    files = {"state.json": coded(state), "data.arrow": stream_of(arrow_table()), name: content}
    for file, data in files.items():
        (folder / file).write_bytes(data)
    loaded(read_table(folder, SMALL, cache=False))


@target(".json", lambda: [coded({"splits": ["train", "test"]})])
def dataset_dict(content, folder):
    (folder / "dataset_dict.json").write_bytes(content)
    for split in ("train", "test"):
        (folder / split).mkdir(exist_ok=True)
        (folder / split / "state.json").write_bytes(coded({"_data_files": [{"filename": "data.arrow"}]}))
    assert all(file.path.parent.parent == folder for file in table_files(folder))


TREE = {"train/cat/1.png": PNG, "train/dog/2.png": PNG, "test/cat/3.png": PNG, "README.md": b"", "train/.x": b""}


def image_folder(folder: Path, content: bytes) -> None:
    """Reads a .zip file of images."""
    path = folder / "images.zip"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_images, "LARGEST", MOST_PIXELS)
        loaded(read_image_folder(path, SMALL, cache=False))


@target("images.zip", lambda: [zipped(TREE), zipped({"a/1.png": PNG, "b/2.png": PNG})])
def image_zip(content, folder):
    image_folder(folder, content)


@target("images.zip", lambda: ["\n".join(TREE).encode(), b"one\\cat/1.png\none/dog/2.png"])
def image_names(content, folder):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in content.decode(errors="replace")[:1000].split("\n"):
            packed.writestr(zipfile.ZipInfo(name), PNG)
    image_folder(folder, file.getvalue())


PIXELS = np.zeros((4, 2, 2, 3), np.uint8)
LABELS = np.array([0, 1, 0, 1])


@target(
    "data.npz",
    lambda: [archive(x_train=PIXELS, y_train=LABELS), archive(images=PIXELS[..., :1], labels=LABELS)],
    by_kzoo=False,
)
def npz(content, folder):
    (folder / "data.npz").write_bytes(content)
    loaded(read_npz(folder / "data.npz", SMALL))


@target("data.npz", lambda: [member(PIXELS), member(PIXELS[..., 0])])
def npz_images(content, folder):
    npz(zipped({"x.npy": content, "y.npy": member(LABELS)}), folder)


@target("data.npz", lambda: [member(LABELS), member(LABELS.astype(np.uint8)[:, None])], by_kzoo=False)
def npz_labels(content, folder):
    npz(zipped({"x.npy": member(PIXELS), "y.npy": content}), folder)


@functools.cache
def _cached() -> dict[str, bytes]:
    """Returns the files of a cache of two images."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KZOO_HOME", home)
        decoded("two", [Item(name, (1, 1), lambda: PNG) for name in "ab"], SMALL)
        (manifest,) = Path(home).rglob("manifest.json")
        return {path.name: path.read_bytes() for path in manifest.parent.iterdir()}


def cached(folder: Path, name: str, content: bytes) -> None:
    """Reads and lists a cache in which one file is as given."""
    path = folder / "decoded" / ("0" * 32)
    path.mkdir(parents=True, exist_ok=True)
    for file, data in {**_cached(), name: content}.items():
        (path / file).write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KZOO_HOME", str(folder))
        from kzoo.cli.data import _cache_table

        _cache_table(cached_entries(), folder)
    examples = CachedExamples(path)
    assert examples.read(np.arange(len(examples))).dtype == np.uint8
    assert examples.labels.shape == (len(examples),)
    assert examples.totals(np.arange(len(examples))).shape == (3, 2)


@target("decoded", lambda: [_cached()["manifest.json"]])
def cache_manifest(content, folder):
    cached(folder, "manifest.json", content)


@target("decoded", lambda: [_cached()["index.npz"]], by_kzoo=False)
def cache_index(content, folder):
    cached(folder, "index.npz", content)


@target("decoded", lambda: [member(np.zeros((2, 3, 2), np.uint64))], by_kzoo=False)
def cache_array(content, folder):
    with np.load(io.BytesIO(_cached()["index.npz"])) as index:
        rest = {"crc32.npy": member(index["crc32"]), "labels.npy": member(index["labels"])}
    cached(folder, "index.npz", zipped({**rest, "sums.npy": content}))


@functools.cache
def _prepared() -> Path:
    """Returns a dataset as tensorflow-datasets prepares it."""
    root = Path(tempfile.mkdtemp(prefix="kzoo-fuzz-"))
    (root / "pets.zip").write_bytes(zipped(TREE))
    return prepare_dataset("pets", data_dir=root, source=root / "pets.zip", progress=False)


def prepared(folder: Path, name: str, content: bytes) -> None:
    """Reads a prepared dataset in which one file is as given."""
    path = folder / "pets" / "1.0.0"
    shutil.copytree(_prepared(), path, dirs_exist_ok=True)
    (path / name).write_bytes(content)
    loaded(read_prepared(path, SMALL, cache=False))


@target("1.0.0", lambda: [(_prepared() / "features.json").read_bytes()], by_kzoo=False, examples=20)
def prepared_features(content, folder):
    prepared(folder, "features.json", content)


@target("1.0.0", lambda: [(_prepared() / "dataset_info.json").read_bytes()], by_kzoo=False, examples=30)
def prepared_info(content, folder):
    prepared(folder, "dataset_info.json", content)


@functools.cache
def _state_dict() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"state_dict": {"conv1.weight": torch.zeros(2, 2), "bn1.bias": torch.ones(2)}}, file)
    return file.getvalue()


@target("weights.pt", lambda: [_state_dict()], needs="torch", examples=50, by_kzoo=False)
def torch_file(content, folder):
    path = folder / "weights.pt"
    path.write_bytes(content)
    assert all(isinstance(name, str) for name in read_checkpoint(path))


def _pickle() -> bytes:
    with zipfile.ZipFile(io.BytesIO(_state_dict())) as packed:
        return packed.read("archive/data.pkl")


@target("weights.pt", lambda: [_pickle()], needs="torch")
def torch_pickle(content, folder):
    with zipfile.ZipFile(io.BytesIO(_state_dict())) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    torch_file(zipped({**files, "archive/data.pkl": content}), folder)


LIMITS = Limits(batch=3, pixels=MOST_PIXELS)
B64 = base64.b64encode(PNG).decode()
REQUESTS = [
    {"instances": np.zeros((2, 2, 2, 3), int).tolist()},
    {"instances": [{"image": np.zeros((2, 2, 3), int).tolist()}], "signature_name": "serving_default"},
    {"instances": [{"image_bytes": {"b64": B64}}]},
]


@target("", lambda: list(map(coded, REQUESTS)))
def request_v1(content, folder):
    asked = asked_by_v1(read_body(content, most_lists(SMALL, LIMITS)), SMALL, LIMITS)
    assert pixels_of(asked, SMALL, LIMITS).shape[1:] == (2, 2, 3)


TENSORS = [
    {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": np.zeros((1, 2, 2, 3), int).tolist()},
    {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [B64]},
    {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 4 + len(PNG)}},
]


@target("", lambda: list(map(coded, TENSORS)))
def request_v2(content, folder):
    binary = len(PNG).to_bytes(4, "little") + PNG
    tensor, _ = read_tensor(read_body(content, most_lists(SMALL, LIMITS)), memoryview(binary), 1000)
    asked = asked_by_v2(tensor.name, tensor.datatype, tensor.values, SMALL, LIMITS)
    assert pixels_of(asked, SMALL, LIMITS).shape[1:] == (2, 2, 3)
