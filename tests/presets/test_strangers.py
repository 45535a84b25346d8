"""Presets of strangers: refused with the name of what is wrong, and nothing in them runs."""

import hashlib
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest

import kzoo
from kzoo.presets.tensors import file_of, read_header

SIZE = (8, 8, 3)
KERNEL = "stage2_block1_conv1/kernel"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    model = kzoo.resnet(8, classes=2, input_shape=SIZE)
    return kzoo.save_preset(model, tmp_path_factory.mktemp("whole") / "preset", class_names=["a", "b"])


@pytest.fixture(scope="module")
def tensors(whole):
    import safetensors.numpy

    return safetensors.numpy.load((whole / "model.safetensors").read_bytes())


def written(folder, whole, content=None, **changes):
    """Writes a preset with other weights, whose hash config.json has, and with changes of config.json."""
    folder.mkdir(exist_ok=True)
    content = (whole / "model.safetensors").read_bytes() if content is None else content
    config = json.loads((whole / "config.json").read_text())
    config["weights"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for place, value in changes.items():
        *way, last = place.split("__")
        inner = config
        for name in way:
            inner = inner[name]
        if value is DROP:
            del inner[last]
        else:
            inner[last] = value
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(content)
    return folder


DROP = object()


def refused(folder, match):
    with pytest.raises(ValueError, match=match):
        kzoo.load_preset(folder)


def with_header(change):
    """A file whose header is changed after it was written."""

    def make(tensors):
        content = file_of(tensors)
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        changed = change(header)
        packed = changed if isinstance(changed, bytes) else json.dumps(changed or header).encode()
        return struct.pack("<Q", len(packed)) + packed + content[8 + length :]

    return make


def set_of(name, **values):
    return with_header(lambda header: header[name].update(values))


def replaced(name, value):
    return lambda tensors: file_of({**tensors, name: value})


def with_one(value, name=KERNEL):
    def make(tensors):
        changed = tensors[name].copy()
        changed.flat[7 % changed.size] = value
        return file_of({**tensors, name: changed})

    return make


FILES = {
    "extra key": (replaced("evil/kernel", np.zeros(3, "float32")), "'evil/kernel' is left over"),
    "missing key": (
        lambda tensors: file_of({name: value for name, value in tensors.items() if name != KERNEL}),
        f"{KERNEL} is missing",
    ),
    "shape": (replaced(KERNEL, np.zeros((3, 3, 32, 16), "float32")), rf"{KERNEL} must have shape \(3, 3, 16, 32\)"),
    "dtype": (replaced(KERNEL, np.zeros((3, 3, 16, 32), "int32")), f"{KERNEL} must be float16, float32, float64"),
    "NaN": (with_one(np.nan), rf"{KERNEL} must hold finite numbers .* Received: nan at \[0, 0, 0, 7\]"),
    "infinity": (with_one(-np.inf), f"{KERNEL} must hold finite numbers .* Received: -inf"),
    "variance": (
        with_one(-1, "stem_norm/moving_variance"),
        "stem_norm/moving_variance must hold variances, 0 or larger",
    ),
    "deviation": (with_one(0, "normalization/std"), "normalization/std must hold deviations, above 0"),
    "other normalization": (
        with_one(0.9, "normalization/mean"),
        "must have what config.json says as normalization/mean",
    ),
    "truncated": (lambda tensors: file_of(tensors)[:-100], "must lie between two bytes|all that follow the header"),
    "cut in the header": (lambda tensors: file_of(tensors)[:50], "its header must have 1 to 42 bytes"),
    "nearly empty": (lambda tensors: b"a", "its header must have 1 to"),
    "appended": (lambda tensors: file_of(tensors) + b"more", "its tensors must take .* bytes, all that follow"),
    "huge header": (lambda tensors: struct.pack("<Q", 2**63) + file_of(tensors)[8:], "its header must have 1 to"),
    "no JSON": (with_header(lambda header: b"not JSON"), "its header must be JSON"),
    "deep": (with_header(lambda header: b"[" * 200_000), "its header must be JSON"),
    "a list": (with_header(lambda header: b"[1]"), "its header must be an object"),
    "twice": (with_header(lambda header: b'{"a": 1, "a": 2}'), "a name that is there twice"),
    "offset": (set_of(KERNEL, data_offsets=[0, 10**12]), f"{KERNEL}' must lie between two bytes of the file"),
    "size": (set_of(KERNEL, shape=[3, 3, 16, 64]), f"{KERNEL}' must take 36,864 bytes. Received: 18,432"),
    "absurd size": (set_of(KERNEL, shape=[10**9, 10**9]), f"{KERNEL}' must have a shape"),
    "negative": (set_of(KERNEL, shape=[-3, -3, 16, 32]), f"{KERNEL}' must have a shape"),
    "overlap": (set_of(KERNEL, data_offsets=[0, 18432]), "must begin at byte"),
    "unknown dtype": (set_of(KERNEL, dtype="F8_E4M3"), f"{KERNEL}' must be one of BOOL"),
    "unknown field": (set_of(KERNEL, code="import os"), f"{KERNEL}' must have a dtype, a shape and data_offsets"),
    "metadata": (with_header(lambda header: {**header, "__metadata__": {"a": [1]}}), "'__metadata__' must be texts"),
}


@pytest.mark.parametrize("case", FILES)
def test_file_of_weights_is_refused(whole, tensors, tmp_path, case):
    make, message = FILES[case]
    folder = written(tmp_path / "preset", whole, make(dict(tensors)))
    with pytest.raises(ValueError, match=rf"(?s)model\.safetensors .*({message})"):
        kzoo.load_preset(folder)


CONFIGS = {
    "unknown field": ({"code": "import os"}, "'code' must not be there"),
    "missing field": ({"precision": DROP}, "'precision' must be there"),
    "unknown argument": (
        {"model__arguments__custom_objects": {}},
        "'model.arguments.custom_objects' must not be there",
    ),
    "weights of elsewhere": (
        {"model__arguments__weights": "hf://evil/one"},
        "'model.arguments.weights' must not be there",
    ),
    "another function": ({"model__constructor": "os.system"}, "'model.constructor' must be one of resnet, wide_resnet"),
    "private function": ({"model__constructor": "_build"}, "'model.constructor' must be one of"),
    "activation": ({"model__arguments__classifier_activation": "evil>Layer"}, "classifier_activation' must be null"),
    "an object": ({"model__arguments__classifier_activation": {"class_name": "Lambda"}}, "must be null, 'linear'"),
    "absurd depth": ({"model__depth": 10**9}, "'model.depth' must be a whole number up to 10,000"),
    "deep for its weights": ({"model__depth": 9_998}, "must have tensors for a depth of 9998. Received: 39 tensors"),
    "other depth": ({"model__depth": 14}, "stage1_block2_conv1/kernel is missing"),
    "no depth": ({"model__depth": 9}, "`depth` must be 6n"),
    "absurd classes": ({"model__arguments__classes": 10**7}, "classes' must be a whole number up to 1,000,000"),
    "many classes": (
        {"model__arguments__classes": 999_999, "class_names": None},
        r"classifier/bias must have shape \(999999,\). Received: \(2,\)|classifier/kernel must have shape",
    ),
    "absurd images": ({"model__arguments__input_shape": [9000, 9000, 3]}, "feature maps have at most"),
    "a huge number": ({"model__arguments__seed": 10**400}, "seed' must be a whole number of 64 bits"),
    "name": ({"model__arguments__name": "../../x"}, "name' must be up to 100 letters"),
    "file": ({"weights__file": "/etc/passwd"}, "'weights.file' must not be there"),
    "format": ({"format": 2}, "'format' must be 1; a newer kzoo may know others"),
    "names": ({"class_names": ["a", "b", "c"]}, "'class_names' must be 2 different texts"),
    "normalization": ({"normalization__mean": [0.1, 0.2]}, "'normalization.mean' must be 3 numbers"),
    "temperature": ({"temperature": -1}, "'temperature' must be null, or a number above 0"),
    "resize": ({"images__resize": "evil"}, "'images' must say how to decode"),
    "no number": ({"about": {"a": float("nan")}}, "'about' must be of texts, finite numbers"),
    "hash": ({"weights__sha256": "0" * 64}, "must be .* with the SHA-256 0000"),
    "bytes": ({"weights__bytes": 5}, "must be 5 bytes"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configuration_is_refused(whole, tmp_path, case):
    changes, message = CONFIGS[case]
    folder = written(tmp_path / "preset", whole, **changes)
    tracemalloc.start()
    refused(folder, rf"(?s)preset/(config\.json|model\.safetensors) .*({message})")
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_damaged_json_is_refused(whole, tmp_path):
    folder = written(tmp_path / "preset", whole)
    for content in (b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"null"):
        (folder / "config.json").write_bytes(content)
        refused(folder, "config.json must be")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_file_that_is_a_link_is_refused(whole, tmp_path, name):
    folder = written(tmp_path / "preset", whole)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(folder, f"{name} must be a file of its own. Received: a link to")


def test_file_that_is_no_file_is_refused(whole, tmp_path):
    folder = written(tmp_path / "preset", whole)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        kzoo.load_preset(folder)
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        kzoo.load_preset(folder)


def test_file_that_changes_after_its_header_was_read_is_refused(whole, tmp_path, monkeypatch):
    folder = written(tmp_path / "preset", whole)

    def read_and_change(path):
        header = read_header(path)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        return header

    monkeypatch.setattr("kzoo.models.preset.read_header", read_and_change)
    refused(folder, "model.safetensors must be .* Received")


def test_refused_weights_leave_the_model_as_it_was(whole, tensors, tmp_path):
    folder = written(tmp_path / "preset", whole, FILES["NaN"][0](dict(tensors)))
    with pytest.raises(ValueError, match="must hold finite numbers"):
        kzoo.resnet(8, weights=folder)
