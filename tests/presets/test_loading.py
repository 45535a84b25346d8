import io
import pickle
import shutil
import tracemalloc
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kzoo
from kzoo.presets.hdf5 import read_file, structure_of

KERNEL = "layers/conv2d_2/vars/0"  # of stage1_block1_conv2, (3, 3, 16, 16)
NAMED = rf"{KERNEL} \(of 'stage1_block1_conv2'\)"


def small(seed=0, **arguments):
    return kzoo.resnet(8, seed=seed, dropout=0.1, **arguments)


def foreign(seed=0):
    """A model without a layer of kzoo's, in which the same layer occurs twice and layers keep state."""
    shared = keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)])
    inputs = keras.Input((4,))
    x = keras.layers.LSTM(4)(keras.layers.Reshape((2, 2))(inputs))
    return keras.Model(inputs, keras.layers.Add()([shared(shared(inputs)), inner(x)]))


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "original.weights.h5"
    kzoo.save_weights(small(seed=1), path)
    return path


@pytest.fixture
def file(original, tmp_path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.weights.h5"))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def replace(path, value, key=KERNEL, **options):
    with h5py.File(path, "r+") as file:
        del file[key]
        file.create_dataset(key, data=value, **options)


def value_of(path, key=KERNEL):
    with h5py.File(path) as file:
        return file[key][()]


def test_weights_come_back(original):
    model = small()
    kzoo.load_weights(model, original)
    assert same(model, small(seed=1))


@pytest.mark.parametrize("build", [small, foreign], ids=["kzoo", "foreign"])
@pytest.mark.parametrize("save", [kzoo.save_weights, keras.Model.save_weights], ids=["kzoo", "keras"])
@pytest.mark.parametrize("load", [kzoo.load_weights, keras.Model.load_weights], ids=["kzoo", "keras"])
def test_files_are_those_of_keras(tmp_path, build, save, load):
    saved, loaded = build(seed=1), build(seed=2)
    save(saved, tmp_path / "m.weights.h5")
    load(loaded, tmp_path / "m.weights.h5")
    assert same(saved, loaded)


def test_optimizer_state_that_keras_saved_is_ignored(tmp_path):
    saved = small(seed=1)
    saved.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    saved.fit(np.zeros((1, 32, 32, 3)), np.zeros((1, 10)), verbose=0)
    saved.save_weights(tmp_path / "m.weights.h5")
    loaded = small()
    kzoo.load_weights(loaded, tmp_path / "m.weights.h5")
    assert same(saved, loaded)


def test_optimizer_state_of_a_model_in_training_is_neither_saved_nor_touched(tmp_path):
    model = small(seed=1)
    model.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    model.fit(np.zeros((1, 32, 32, 3)), np.ones((1, 10)), verbose=0)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
    kzoo.save_weights(model, tmp_path / "m.weights.h5")
    kzoo.load_weights(model, tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert sorted(file) == ["layers", "vars"]
    for variable, value in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_same_weights_are_the_same_bytes(original, tmp_path):
    kzoo.save_weights(small(seed=1), tmp_path / "again.weights.h5")
    assert (tmp_path / "again.weights.h5").read_bytes() == original.read_bytes()


def test_nothing_is_left_beside_a_file(original):
    assert [path.name for path in original.parent.iterdir()] == [original.name]


def test_file_of_another_name_is_an_error(original, tmp_path):
    shutil.copy(original, tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"Expected a file named \*\.weights\.h5. Received: .*m\.h5\."):
        kzoo.load_weights(small(), tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"Expected a file named \*\.weights\.h5. Received: .*m\.h5\."):
        kzoo.save_weights(small(), tmp_path / "m.h5")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_floats_of_another_width_are_converted(file, dtype):
    kernel = value_of(file).astype(dtype)
    replace(file, kernel)
    model = small()
    kzoo.load_weights(model, file)
    np.testing.assert_array_equal(model.get_layer("stage1_block1_conv2").get_weights()[0], kernel.astype("float32"))


def test_float64_model_takes_float64_as_it_is(file):
    kzoo.set_precision("float64")
    kernel = value_of(file).astype("float64") + 1e-12
    replace(file, kernel)
    model = small()
    kzoo.load_weights(model, file)
    np.testing.assert_array_equal(model.get_layer("stage1_block1_conv2").get_weights()[0], kernel)


def test_integers_of_another_width_are_converted(file):
    replace(file, np.uint64(7), "layers/dropout_1/vars/0")
    model = small()
    kzoo.load_weights(model, file)
    assert int(model.get_layer("stage2_block1_dropout").get_weights()[0]) == 7


def missing(path):
    with h5py.File(path, "r+") as file:
        del file[KERNEL]


def extra(path):
    with h5py.File(path, "r+") as file:
        file["layers/conv2d_2/vars/1"] = np.zeros(16)


def transposed(path):
    replace(path, value_of(path, "layers/conv2d_3/vars/0").transpose(0, 1, 3, 2), "layers/conv2d_3/vars/0")


def nan(path):
    kernel = value_of(path)
    kernel[1, 2, 3, 4] = np.nan
    replace(path, kernel)


def too_large_a_number(path):
    kernel = value_of(path).astype("float64")
    kernel[1, 2, 3, 4] = 1e300
    replace(path, kernel)


def negative_infinity(path):
    replace(path, np.full((3, 3, 16, 16), -np.inf, "float32"))


def too_large_an_integer(path):
    replace(path, np.int64(2**40), "layers/dropout_1/vars/0")


def wrong_depth(path):
    kzoo.save_weights(kzoo.resnet(14, dropout=0.1), path)


def other_dtype(path):
    replace(path, value_of(path).astype("int32"))


def big_endian(path):
    replace(path, value_of(path).astype(">f4"))


def objects(path):
    replace(path, np.full((3, 3, 16, 16), b"x", object), dtype=h5py.special_dtype(vlen=bytes))


def flipped_byte(path):
    with h5py.File(path) as file:
        offset = file[KERNEL].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 1000] ^= 0x10
    path.write_bytes(content)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-5000])


def not_hdf5(path):
    path.write_bytes(b"0" * 100_000)


def empty(path):
    path.write_bytes(b"")


def bomb(path):  # a file of a few bytes that declares a terabyte
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, (1 << 38,), "float32")


def unwritten(path):
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, (3, 3, 16, 16), "float32")


def compressed(path):
    replace(path, np.zeros((3, 3, 16, 16), "float32"), compression="gzip")


def chunked(path):
    replace(path, value_of(path), chunks=(3, 3, 1, 1))


def soft_link(path):
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file[KERNEL] = h5py.SoftLink("/layers/conv2d_1/vars/0")


def external_link(path):
    other = shutil.copy(path, path.with_name("other.weights.h5"))
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file[KERNEL] = h5py.ExternalLink(other, KERNEL)


def external_storage(path):
    path.with_name("raw").write_bytes(b"\0" * 9216)
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, (3, 3, 16, 16), "float32", external=[(str(path.with_name("raw")), 0, 9216)])


def virtual(path):
    source = h5py.VirtualSource(shutil.copy(path, path.with_name("o.h5")), KERNEL, (3, 3, 16, 16), "float32")
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        sources = h5py.VirtualLayout((3, 3, 16, 16), "float32")
        sources[...] = source
        file.create_virtual_dataset(KERNEL, sources)


def loop(path):
    with h5py.File(path, "r+") as file:
        file["layers/conv2d_2/again"] = file["layers"]


def checksum_of_another_kind(path):
    with h5py.File(path, "r+") as file:
        file[KERNEL].attrs["crc32"] = "x" * 1000


def padded(path):
    with path.open("ab") as file:
        file.truncate(1 << 24)


VARIANCE, DEVIATION = "layers/batch_norm_1/vars/3", "layers/pixel_normalization/vars/1"


def negative_variance(path):
    variance = value_of(path, VARIANCE)
    variance[2] = -0.5
    replace(path, variance, VARIANCE)


def no_deviation(path):
    replace(path, np.float32([0.2, 0, 0.2]), DEVIATION)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (missing, f"{NAMED} is missing"),
        (
            negative_variance,
            rf"{VARIANCE} \(of 'stage1_block1_norm1'\) must hold variances, 0 or larger. Received: -0.5",
        ),
        (no_deviation, rf"{DEVIATION} \(of 'normalization'\) must hold deviations, above 0. Received: 0.0"),
        (extra, "layers/conv2d_2/vars/1 is left over: the model has no such tensor"),
        (transposed, r"conv2d_3/vars/0 .*must have shape \(3, 3, 16, 32\). Received: \(3, 3, 32, 16\)"),
        (nan, NAMED + r" must hold finite numbers .*Received: nan at \[1, 2, 3, 4\]"),
        (negative_infinity, NAMED + r" must hold finite numbers .*Received: -inf at \[0, 0, 0, 0\]"),
        (too_large_a_number, NAMED + r" must hold finite numbers in the range of float32. Received: 1e\+300 at"),
        (too_large_an_integer, "dropout_1/vars/0 .*in the range of int32. Received: 1099511627776"),
        (wrong_depth, "layers/.* is left over"),
        (other_dtype, f"{NAMED} must be float16, float32, float64. Received: <i4"),
        (big_endian, f"{NAMED} must be float16, float32, float64. Received: >f4"),
        (objects, rf"{NAMED} must be float16, float32, float64. Received: \|O"),
        (flipped_byte, f"{NAMED} is damaged: its CRC-32 is not the one in the file"),
        (truncated, "it is not a whole HDF5 file"),
        (not_hdf5, "it is not a whole HDF5 file"),
        (empty, "it is not a whole HDF5 file"),
        (bomb, NAMED + r" must have shape \(3, 3, 16, 16\). Received: \(274877906944,\)"),
        (unwritten, f"{NAMED} must take 9216 bytes. Received: 0"),
        (compressed, f"{NAMED} must be stored in one piece"),
        (chunked, f"{NAMED} must be stored in one piece"),
        (soft_link, f"{KERNEL} must be in the file itself. Received: a link"),
        (external_link, f"{KERNEL} must be in the file itself. Received: a link"),
        (external_storage, f"{NAMED} must be stored in one piece"),
        (virtual, f"{NAMED} must be stored in one piece"),
        (loop, "layers/conv2d_2/again must be there once. Received: a group of two names"),
        (checksum_of_another_kind, f"{NAMED} is damaged"),
        (padded, r"must be at most [0-9,]+ bytes for this model. Received: 16,777,216 bytes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistake_in_a_file_is_named_and_nothing_is_assigned(file, mistake, message):
    mistake(file)
    model = small()
    with pytest.raises(ValueError, match=message):
        kzoo.load_weights(model, file)
    assert same(model, small())


def test_negative_variance_of_a_layer_of_keras_is_named(tmp_path):
    model = foreign()
    variance = next(weight for weight in model.weights if weight.path.endswith("/moving_variance"))
    variance.assign(np.full(variance.shape, -1, np.float32))
    kzoo.save_weights(model, tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"of 'batch_normalization.*must hold variances, 0 or larger. Received: -1.0"):
        kzoo.load_weights(foreign(), tmp_path / "m.weights.h5")


class Malice:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_pickle_is_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.weights.h5").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(ValueError, match="it is not a whole HDF5 file"):
        kzoo.load_weights(small(), tmp_path / "m.weights.h5")
    assert not Path("executed").exists()


def test_what_is_optional_may_be_there_or_not(original, tmp_path):
    features = small(include_top=False)
    kzoo.load_weights(features, original, optional=["layers/dense"])
    np.testing.assert_array_equal(features.get_weights()[2], small(seed=1).get_weights()[2])
    kzoo.save_weights(features, tmp_path / "features.weights.h5")
    kzoo.load_weights(features, tmp_path / "features.weights.h5", optional=["layers/dense"])
    with pytest.raises(ValueError, match="layers/dense/vars/0 is left over"):
        kzoo.load_weights(features, original)


def test_what_is_optional_and_missing_stays_as_it_was(tmp_path):
    kzoo.save_weights(kzoo.resnet(8, seed=1), tmp_path / "m.weights.h5")
    model = small()
    model.get_layer("stage2_block1_dropout").step.assign(5)
    kzoo.load_weights(model, tmp_path / "m.weights.h5", optional=[f"layers/dropout{i}" for i in ("", "_1", "_2")])
    assert int(model.get_layer("stage2_block1_dropout").step) == 5
    np.testing.assert_array_equal(model.get_weights()[2], kzoo.resnet(8, seed=1).get_weights()[2])


class Expected:
    """What is in the original: a class, since Hypothesis prints arguments."""

    def __init__(self, original):
        self.slots = structure_of(original).slots
        self.tensors = read_file(original.read_bytes(), self.slots)


@pytest.fixture(scope="session")
def expected(original):
    return Expected(original)


def read_mutated(content, expected):
    """Reads a mutated file: either it is refused, or what was changed meant nothing."""
    try:
        read = read_file(bytes(content), expected.slots)
    except ValueError:
        return
    for key, value in expected.tensors.items():
        np.testing.assert_array_equal(read[key], value, err_msg=key)


@settings(max_examples=150)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_flipped_byte_is_found_or_means_nothing(original, expected, where, change):
    content = bytearray(original.read_bytes())
    content[int(where * len(content))] ^= change
    read_mutated(content, expected)


@settings(max_examples=150)
@given(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64))
def test_overwritten_bytes_are_found_or_mean_nothing(original, expected, where, inserted):
    content = bytearray(original.read_bytes())
    start = int(where * (len(content) - len(inserted)))
    content[start : start + len(inserted)] = inserted
    read_mutated(content, expected)


@settings(max_examples=50)
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_cut_out_bytes_are_found_or_mean_nothing(original, expected, start, end):
    content = original.read_bytes()
    start, end = sorted((int(start * len(content)), int(end * len(content)) + 1))
    read_mutated(content[:start] + content[end:], expected)


@settings(max_examples=50)
@given(
    st.sampled_from([KERNEL, "layers/dense/vars/1", "layers/dropout/vars/0"]),
    st.lists(st.integers(0, 2**18), max_size=3).map(tuple),
    st.sampled_from(["f2", "f4", "f8", ">f4", "i4", "u8", "?", "c8", "S3"]),
)
def test_declared_shape_and_dtype_cost_no_memory(original, expected, key, shape, dtype):
    content = io.BytesIO(original.read_bytes())
    with h5py.File(content, "r+") as file:
        del file[key]
        file.create_dataset(key, shape, dtype)  # space that is declared and not written
    tracemalloc.start()
    with pytest.raises(ValueError, match=key):
        read_file(content.getvalue(), expected.slots)
    assert tracemalloc.get_traced_memory()[1] < 3 * len(content.getvalue()) + (1 << 20)
    tracemalloc.stop()
