"""Published PyTorch checkpoints, converted where PyTorch is, are the same network on every backend."""

import json

import pytest
from backends import BACKENDS, python_of, run_on

pytestmark = [pytest.mark.cross, pytest.mark.shared]

CHECKPOINTS = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}
TOP1 = {20: 0.8103, 56: 0.8320}  # by the upstream code, on the test images of cifar10-jpeg

CONVERT = """
import sys, kzoo
kzoo.import_checkpoint(sys.argv[1], sys.argv[2], model=f"resnet{sys.argv[3]}", layout="akamaster")
"""

DECODE = """
import sys, zipfile, numpy as np
from kzoo.data import decode_image
with zipfile.ZipFile(sys.argv[1]) as archive:
    names = sorted(name for name in archive.namelist() if name.startswith("test/") and name.endswith(".jpg"))
    images = np.stack([decode_image(archive.read(name), name) for name in names])
classes = sorted({name.split("/")[1] for name in names})
np.savez(sys.argv[2], images=images, labels=[classes.index(name.split("/")[1]) for name in names])
"""

LOGITS = """
import json, sys, numpy as np, kzoo
weights, reference, depth, precision = sys.argv[1:]
kzoo.set_precision(precision)
model = kzoo.resnet(int(depth), weights=weights)
with np.load(reference) as file:
    images, expected = file["images"], file[f"logits_resnet{depth}"]
differences = [np.abs(m.predict(images, verbose=0) - expected).max() for m in (model, kzoo.fold_batch_norm(model))]
print(json.dumps([float(difference) for difference in differences]))
"""

ACCURACY = """
import json, sys, numpy as np, kzoo
weights, test, depth = sys.argv[1:]
model = kzoo.resnet(int(depth), weights=weights)
with np.load(test) as file:
    images, labels = file["images"], file["labels"]
print(json.dumps([kzoo.evaluate(m, images, labels).accuracy for m in (model, kzoo.fold_batch_norm(model))]))
"""

EXPORT = """
import sys, numpy as np, kzoo
from kzoo.export import readers
weights, test, depth, format_name, out, python = sys.argv[1:]
model = kzoo.resnet(int(depth), weights=weights)
with np.load(test) as file:
    images = file["images"][::1000]
exported = kzoo.export_model(model, out, format=format_name, images=images, python=python)
print(readers.__file__, exported.directory, exported.runtime, sep="\\n")
"""

SCORE = """
import runpy, sys, numpy as np
readers, directory, test, format_name = sys.argv[1:]
answer = runpy.run_path(readers)["READERS"][format_name](directory)[2]
with np.load(test) as file:
    images, labels = file["images"], file["labels"]
starts = range(0, len(images), 500)
classes = np.concatenate([answer("serving_default", images[i : i + 500])["logits"].argmax(axis=1) for i in starts])
print((classes == labels).mean())
"""


@pytest.fixture(scope="module")
def converted(shared, tmp_path_factory):
    """Depth to weights file."""
    folder = tmp_path_factory.mktemp("converted")
    paths = {depth: folder / f"resnet{depth}.weights.h5" for depth in CHECKPOINTS}
    for depth, name in CHECKPOINTS.items():
        run_on("torch", CONVERT, shared / "weights" / "akamaster" / name, paths[depth], depth)
    return paths


@pytest.fixture(scope="module")
def test_images(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "test.npz"
    run_on("torch", DECODE, shared / "data" / "cifar10-jpeg.zip", path)
    return path


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 5e-5), ("float64", 1e-9)])
@pytest.mark.parametrize("depth", CHECKPOINTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_are_the_reference_plain_and_folded(shared, converted, backend, depth, precision, tolerance):
    reference = shared / "weights" / "akamaster" / "reference.npz"
    printed = run_on(backend, LOGITS, converted[depth], reference, depth, precision)
    plain, folded = json.loads(printed.splitlines()[-1])
    print(f"{backend} resnet{depth} {precision}: largest difference {plain:.2e} plain, {folded:.2e} folded")
    assert max(plain, folded) <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("depth", CHECKPOINTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_accuracy_on_all_test_images_is_the_upstream_codes(converted, test_images, backend, depth):
    printed = run_on(backend, ACCURACY, converted[depth], test_images, depth, timeout=1200)
    accuracies = json.loads(printed.splitlines()[-1])
    print(f"{backend} resnet{depth}: top-1 {accuracies[0]} plain, {accuracies[1]} folded")
    assert accuracies == [TOP1[depth], TOP1[depth]]


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["saved_model", "onnx", "litert", "openvino"])
@pytest.mark.parametrize("depth", CHECKPOINTS)
def test_accuracy_of_every_export_is_the_upstream_codes(converted, test_images, depth, format_name, tmp_path):
    python = python_of("serving")
    printed = run_on("torch", EXPORT, converted[depth], test_images, depth, format_name, tmp_path, python)
    readers, directory, runtime = printed.splitlines()[-3:]
    arguments = [readers, directory, test_images, format_name]
    accuracy = float(run_on("tensorflow", SCORE, *arguments, python=python, timeout=1200).splitlines()[-1])
    print(f"resnet{depth} {format_name}, by {runtime}: top-1 {accuracy}")
    assert accuracy == TOP1[depth]
