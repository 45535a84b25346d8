"""What a file says of its size is not believed before it is compared with the file."""

import io
import json
import os
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

import kzoo
from kzoo import archives, bounded
from kzoo.durable import written_file
from kzoo.parity.recording import Recording


def npy(shape, dtype="<f4", data=b""):
    """An .npy file whose header claims a shape, whatever data follow."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def archive(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


HOSTILE = {
    "more than it has": {"a.npy": npy((10**15,))},
    "less than it has": {"a.npy": npy((1,), data=bytes(400))},
    "a negative size": {"a.npy": npy((-1, -1), data=bytes(4))},
    "letters without end": {"a.npy": npy((1,), f"|S{10**9}")},
    "objects": {"a.npy": npy((1,), "|O", b"cos\nsystem\n(S'true'\ntR.")},
    "no header": {"a.npy": b"\x93NUMPY\x01\x00"},
    "a header of brackets": {"a.npy": b"\x93NUMPY\x01\x00\xf0\x0f" + b"(" * 4080},
    "text": {"a.npy": b"text"},
    "an unknown version": {"a.npy": b"\x93NUMPY\x07\x00" + bytes(100)},
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_arrays_that_are_not_what_they_say_are_refused(entries, packed, tmp_path):
    path = archive(tmp_path / "a.npz", entries)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"."):
        archives.read_arrays(path, packed=packed)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("0.npy", npy((10**5,), "|u1", bytes(10**5)))
        first = file.infolist()[0]
        for number in range(1, 50):
            file.filelist.append(entry := zipfile.ZipInfo(f"{number}.npy"))
            for name in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(entry, name, getattr(first, name))
    with pytest.raises(ValueError, match="arrays that take more than the file"):
        archives.read_arrays(path, packed=False)


def test_packed_arrays_are_refused_where_none_are_written(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1000))
    assert archives.read_arrays(tmp_path / "a.npz", packed=True)["a"].shape == (1000,)
    with pytest.raises(ValueError, match="compressed in a way that is not read"):
        archives.read_arrays(tmp_path / "a.npz", packed=False)


@pytest.mark.parametrize("read", [kzoo.load_dataset, Recording.load])
def test_bomb_is_refused_before_it_is_unpacked(read, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_SPARE_BYTES", 1 << 20)
    content = npy((10**7,), "|u1", bytes(10**7))
    path = archive(tmp_path / "a.npz", {"x_train.npy": content}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"arrays of 10,000,128 bytes, and at most 1,\d+,\d+ are read"):
        read(path)


def test_file_that_is_too_long_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # without taking the disk
    with pytest.raises(ValueError, match=r"must be at most 1,000 bytes. Received: 1,099,511,627,776 bytes."):
        bounded.read_json(path, 1000)


def test_pipe_and_device_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(FileNotFoundError, match="Expected a file. Received"):
            bounded.read_bytes(tmp_path / name, 10)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\ud800", "1" * 5000])
def test_what_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(ValueError, match=re.escape("a.json must be JSON, as kzoo wrote it. Received: ")):
        bounded.read_json(tmp_path / "a.json", 1 << 20)


def test_link_in_the_place_of_a_file_to_be_written_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    (tmp_path / ".a.json.aside").symlink_to(outside)
    with written_file(tmp_path / "a.json") as aside:
        aside.write_text(json.dumps("new"))
    assert outside.read_text() == "as it was"
    assert json.loads((tmp_path / "a.json").read_text()) == "new"
