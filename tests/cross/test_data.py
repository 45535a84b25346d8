"""Batches are the same to the bit on every backend, wherever the images lie."""

import json

import pytest
from backends import BACKENDS, run_on

pytestmark = pytest.mark.cross

MAKE = """
import shutil, sys
from pathlib import Path
import numpy as np
from PIL import Image
import kzoo

root, random = Path(sys.argv[1]), np.random.RandomState(0)
for i in range(60):
    path = root / "photos" / ("train", "val", "test")[min(i // 20, 2)] / ("cat", "dog")[i % 2] / f"{i}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.randint(0, 256, (9 + i % 3, 12, 3)).astype(np.uint8)).save(path)
shutil.make_archive(str(root / "photos"), "zip", root / "photos")
kzoo.prepare_dataset("photos", data_dir=root / "prepared", source=root / "photos", image_size=(8, 10), progress=False)
"""

DIGESTS = """
import hashlib, json, os, sys
from pathlib import Path
import keras
import numpy as np
import kzoo
from kzoo.data import cache

root, ours = Path(sys.argv[1]), Path(sys.argv[2])
os.environ["KZOO_HOME"] = str(ours)

def load(path, **options):
    return kzoo.load_dataset(path, image_size=(8, 10), **options).train

def digest(split):
    batches = kzoo.Batches(split, 2, batch_size=6, seed=7, shuffle=True, augmentation=kzoo.Augmentation(flip=True))
    sha = hashlib.sha256()
    for epoch in (0, 3):
        batches.start_at(epoch)
        for index in range(len(batches)):
            for array in batches[index]:
                seen = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(array))  # as a step of training sees it
                assert np.array_equal(seen, array)
                sha.update(f"{seen.dtype.name} {seen.shape}".encode() + seen.tobytes())
    return sha.hexdigest()

found = {"decoded as read": digest(load(root / "photos", cache=False))}
folder = load(root / "photos")
found |= {"folder": digest(folder), "memory": digest(kzoo.Split(folder.images, folder.labels))}
found["zip"] = digest(load(root / "photos.zip"))
cache.IN_MEMORY = 0
cached = load(root / "photos")
assert type(cached._examples) is cache.CachedExamples
found["cache"] = digest(cached)
recorded = kzoo.load_dataset("photos", data_dir=root / "prepared").train
found["records"] = digest(recorded)
found["records in memory"] = digest(kzoo.Split(recorded.images, recorded.labels))
assert sorted(image.tobytes() for image in recorded.images) == sorted(image.tobytes() for image in folder.images)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    run_on(BACKENDS[0], MAKE, root)
    return root


def test_batches_are_the_same_on_every_backend_from_every_place(images, tmp_path):
    found = [json.loads(run_on(backend, DIGESTS, images, tmp_path / backend).splitlines()[-1]) for backend in BACKENDS]
    assert found == found[:1] * len(BACKENDS)
    (files, records) = ("decoded as read", "folder", "memory", "zip", "cache"), ("records", "records in memory")
    assert len({found[0][name] for name in files}) == 1
    assert len({found[0][name] for name in records}) == 1  # in the order that tensorflow-datasets draws
