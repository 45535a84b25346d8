import importlib.util
import io
import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data import Decoding
from kzoo.export import handover
from kzoo.export.signatures import INPUTS, OUTPUTS
from kzoo.export.warmup import WARMUP_FILE

# tests/cross exports from the other backends.
needs_tensorflow = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def signatures(exported):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exported.directory))
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="module")
def nodes(exported):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel()
    content.ParseFromString((exported.directory / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    return {node.op for function in graph.library.function for node in function.node_def} | {
        node.op for node in graph.node
    }


def test_export_is_where_servers_look_and_nothing_beside_it(exported):
    root = exported.directory.parents[1]
    assert exported.directory == root / "digits" / "1"
    assert [path.name for path in root.iterdir()] == ["digits"]
    assert (exported.directory / "saved_model.pb").is_file()


def test_verification_covers_every_signature_at_batch_1_and_7(exported):
    verification = json.loads((exported.directory / "verification.json").read_text())
    assert verification["differences"].keys() == {f"{name}/{batch}" for name in INPUTS for batch in (1, 7)}
    assert verification["largest_difference"] == exported.largest_difference
    assert 0 < exported.largest_difference <= 1e-5 * exported.largest_logit
    assert verification["runtime"].startswith("tensorflow 2.")


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_signatures_answer_as_the_source(signatures, batch, model, digits):
    import tensorflow as tf

    images = digits.test.images[:batch]
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    outputs = signatures["serving_default"](image=tf.constant(images))
    assert outputs.keys() == set(OUTPUTS)
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(outputs["probabilities"].numpy().sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(outputs["class_index"], expected.argmax(axis=1))


def test_signatures_take_what_they_say(signatures):
    inputs = {name: signature.structured_input_signature[1] for name, signature in signatures.items()}
    shapes = {
        name: {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in specs.items()}
        for name, specs in inputs.items()
    }
    assert shapes["serving_default"] == {"image": ("uint8", [None, 16, 16, 3])}
    assert shapes["float_images"] == {"image": ("float32", [None, 16, 16, 3])}
    assert shapes["encoded_images"] == {"image_bytes": ("string", [None])}


def test_graph_has_plain_operations_only(nodes):
    from tensorflow.python.framework import op_def_registry

    assert {"Conv2D", "DecodeJpeg", "Softmax"} <= nodes
    assert not {node for node in nodes if "Xla" in node or "PyFunc" in node}
    assert {node for node in nodes if op_def_registry.get(node) is None} == set()


def test_folded_graph_has_no_batch_norm(nodes):
    assert {node for node in nodes if "BatchNorm" in node or node == "Rsqrt"} == set()


def both_decoded(data, decoding):
    """The pixels of a file within a SavedModel, and by Pillow."""
    import tensorflow as tf

    from kzoo.export.decoding import decoded

    return decoded(tf.constant([data]), decoding)[0].numpy().astype(int), decoding.decode(data, "x")


def file_of(pixels, suffix="PNG", **options):
    file = io.BytesIO()
    (Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels).save(file, suffix, **options)
    return file.getvalue()


@needs_tensorflow
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(8, 8), (20, 20), (20, 100), (48, 64), (60, 80), (33, 17)])
@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
def test_encoded_images_are_resized_to_the_pixels_of_pillow(size, suffix, resize):
    pixels = np.random.RandomState(0).choice(np.uint8([0, 255]), (*size, 3))
    for image_size in ((16, 16), (10, 24)):
        a, b = both_decoded(file_of(pixels, suffix), Decoding(image_size, resize, background=100))
        # The bounds of a part that is cut out are no whole pixels, and not the same to the last bit.
        assert np.abs(a - b).max() <= (resize == "crop")
        assert (a != b).mean() < 0.003


@needs_tensorflow
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_encoded_images_of_any_mode_are_pillows(mode, channels):
    pixels = np.random.RandomState(0).randint(0, 256, (16, 16, 4), np.uint8)
    data = file_of(Image.fromarray(pixels).convert(mode))
    np.testing.assert_array_equal(*both_decoded(data, Decoding((16, 16), channels=channels, background=200)))


@needs_tensorflow
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_encoded_images_are_turned_upright(orientation, suffix, order):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112] = "a maker", orientation
    pixels = np.random.RandomState(0).randint(0, 256, (16, 16, 3), np.uint8)
    a, b = both_decoded(file_of(pixels, suffix, exif=exif, comment="first"), Decoding((16, 16)))
    np.testing.assert_array_equal(a, b)
    assert (orientation == 1) == np.array_equal(b, Decoding((16, 16)).decode(file_of(pixels, suffix), "x"))


@needs_tensorflow
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_stop_the_export(exif, suffix):
    pixels = np.random.RandomState(0).randint(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(*both_decoded(file_of(pixels, suffix, exif=exif), Decoding((16, 16))))


def test_class_names_and_card_travel_with_the_model(exported, digits):
    import tensorflow as tf

    assets = {path.name: path.read_text() for path in (exported.directory / "assets").iterdir()}
    assert assets["classes.txt"].split() == list(digits.class_names)
    card = json.loads(assets["card.json"])
    assert (card["name"], card["version"], card["classes"]) == ("digits", 1, list(digits.class_names))
    assert card["source_backend"] == keras.backend.backend()
    loaded = tf.saved_model.load(str(exported.directory))
    assert sorted(asset.asset_path.numpy().split(b"/")[-1] for asset in loaded.assets) == [b"card.json", b"classes.txt"]


def test_warm_up_requests_parse_back(exported, digits):
    import tensorflow as tf

    logs = [
        prediction_log().FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(exported.directory / WARMUP_FILE))
    ]
    requests = [log.predict_log.request for log in logs]
    assert [request.model_spec.signature_name for request in requests] == list(INPUTS)
    assert {request.model_spec.name for request in requests} == {"digits"}
    tensors = [{name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()} for request in requests]
    np.testing.assert_array_equal(tensors[0]["image"], digits.test.images[:1])
    np.testing.assert_array_equal(tensors[1]["image"], digits.test.images[:1].astype(np.float32))
    assert tensors[2]["image_bytes"][0].startswith(b"\x89PNG")


def prediction_log():
    """Defines the messages of TensorFlow Serving, as its `.proto` files do, and returns `PredictionLog`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from tensorflow.core.framework import tensor_pb2

    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="serving", syntax="proto3")
    file.dependency.append(tensor_pb2.DESCRIPTOR.name)
    kinds = {"string": 9, "message": 11}

    def message(name, *fields, parent=file.message_type):
        defined = parent.add(name=name)
        for number, field, kind, label in fields:
            type_name = {} if kind == "string" else {"type_name": kind}
            defined.field.add(
                name=field, number=number, type=kinds.get(kind, 11), label=3 if label == "repeated" else 1, **type_name
            )
        return defined

    message("ModelSpec", (1, "name", "string", ""), (3, "signature_name", "string", ""))
    request = message(
        "PredictRequest",
        (1, "model_spec", ".serving.ModelSpec", ""),
        (2, "inputs", ".serving.PredictRequest.InputsEntry", "repeated"),
    )
    entry = message(
        "InputsEntry", (1, "key", "string", ""), (2, "value", ".tensorflow.TensorProto", ""), parent=request.nested_type
    )
    entry.options.map_entry = True
    message("PredictLog", (1, "request", ".serving.PredictRequest", ""))
    message("PredictionLog", (6, "predict_log", ".serving.PredictLog", ""))
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.PredictionLog"))


@pytest.mark.parametrize("signature", INPUTS)
def test_saved_model_cli_runs_the_signature(signature, exported, model, digits, tmp_path):
    images = digits.test.images[:2]
    inputs = {
        "serving_default": images,
        "float_images": images.astype(np.float32),
        "encoded_images": np.array([png(image) for image in images]),
    }
    np.save(tmp_path / "input.npy", inputs[signature])
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir", exported.directory]
    command += ["--tag_set", "serve", "--signature_def", signature, "--outdir", tmp_path]
    command += ["--inputs", f"{INPUTS[signature]}={tmp_path / 'input.npy'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5 * np.abs(expected).max())
    assert {f"{name}.npy" for name in OUTPUTS} <= {path.name for path in tmp_path.iterdir()}


@needs_tensorflow
@pytest.mark.slow
def test_folded_saved_model_is_faster_at_batch_1(tmp_path):
    """Measures both in turns, so that what else the machine does meets both; `pytest -rP` shows the ratio."""
    import tensorflow as tf

    model = kzoo.resnet20(seed=1)
    image = tf.zeros((1, 32, 32, 3), tf.uint8)
    directories = [kzoo.export_model(model, tmp_path, name=str(fold), fold=fold).directory for fold in (True, False)]
    loaded = [tf.saved_model.load(str(directory)) for directory in directories]
    times = ([], [])
    for _ in range(600):
        for module, seconds in zip(loaded, times, strict=True):
            start = time.perf_counter()
            module.signatures["serving_default"](image=image)["logits"].numpy()
            seconds.append(time.perf_counter() - start)
    folded, plain = (1e3 * np.median(seconds[100:]) for seconds in times)
    print(f"folded {folded:.3f} ms, unfolded {plain:.3f} ms, ratio {folded / plain:.3f}")
    assert folded < plain


def test_reader_imports_neither_keras_nor_kzoo(exported):
    code = f"import runpy; runpy.run_path({handover.__file__.replace('handover', 'readers')!r})"
    code += f"['read_saved_model']({str(exported.directory)!r}); import sys"
    code += "; print(sorted(name for name in ('keras', 'kzoo', 'tensorflow') if sys.modules.get(name)))"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.strip() == "['tensorflow']", result.stderr
