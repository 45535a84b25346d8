import gc
import io
import resource
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from kzoo.archives import read_arrays, write_arrays


def header(shape, descr="<f8"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write(path, *members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


ARRAYS = {"numbers": np.arange(6.0).reshape(2, 3), "turned": np.arange(6).reshape(2, 3).T, "one": np.array(True)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_texts_are_read_where_they_are_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", text=np.array("\u00fc"))
    assert str(read_arrays(tmp_path / "a.npz", texts=True)["text"]) == "\u00fc"
    with pytest.raises(ValueError, match=r"'text.npy' of <U1"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * 30, "magic string is not correct"),
        (header((1 << 40,)), r"'a.npy' of shape \(1099511627776,\) and float64 in \d+ bytes"),
        (header((0, 1 << 40, 1 << 40)), "array is too big|too large"),
        (header((3,)) + bytes(23), "'a.npy' of shape .* in"),
        (header((1,), "|O") + bytes(8), "'a.npy' of object"),
        (header((1,), "|V8") + bytes(8), r"'a.npy' of \|V8"),
        (header("(("), "EOF|was never closed"),
        (b"\x93NUMPY\x09\x00", r"'a.npy' of version \(9, 0\)"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(write(tmp_path / "a.npz", ("a.npy", data)))


def test_packed_arrays_are_bounded(tmp_path):
    path = write(tmp_path / "a.npz", ("a.npy", saved(np.zeros(1 << 20))), compression=zipfile.ZIP_DEFLATED)
    assert read_arrays(path)["a"].shape == (1 << 20,)
    with pytest.raises(ValueError, match="compressed in a way that is not read"):
        read_arrays(path, packed=False)
    with pytest.raises(ValueError, match="arrays of 8,388,736 bytes, and at most 1,000 are read"):
        read_arrays(path, most_bytes=1000)


def test_size_that_is_claimed_costs_no_memory(tmp_path):
    """The directory of the archive says that the array has a gigabyte, and so does its header."""
    size = 1 << 30
    data = header((size,), "|u1")
    path = write(tmp_path / "a.npz", ("a.npy", data))
    sizes, claimed = (struct.pack("<II", len(data), len(data) + more) for more in (0, size))
    path.write_bytes(path.read_bytes().replace(sizes, claimed))
    tracemalloc.start()
    with pytest.raises(ValueError, match="arrays of 1,073,741,.* bytes, and at most 268,435,456 are read"):
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_two_arrays_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write(tmp_path / "a.npz", *[("a.npy", saved(np.zeros(1)))] * 2)
    with pytest.raises(ValueError, match="two arrays of one name"):
        read_arrays(path)


def test_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="not a zip file"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "b.npz")


@pytest.mark.parametrize("packed", [True, False])
def test_archives_are_those_of_numpy(tmp_path, packed):
    write_arrays(tmp_path / "own.npz", ARRAYS, packed=packed)
    (np.savez_compressed if packed else np.savez)(tmp_path / "numpy.npz", **ARRAYS)
    assert (tmp_path / "own.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


def test_archive_that_cannot_be_finished_is_not_left_open(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_arrays(tmp_path / "a.npz", ARRAYS)
        gc.collect()  # whatever is left open is told here, and fails the test
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
