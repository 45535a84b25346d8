import gc
import os
import shutil
import sys
import weakref

import pytest

import kzoo


def resident_megabytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.filterwarnings("ignore:.*triggered tf.function retracing")
def test_trainings_leave_nothing_behind(tiny, tmp_path, monkeypatch):
    kept = []
    create = kzoo.Batches.__init__

    def remember(self, *arguments, **options):
        create(self, *arguments, **options)
        kept.append(weakref.ref(self))

    monkeypatch.setattr(kzoo.Batches, "__init__", remember)
    recipe = kzoo.recipe("default").override(epochs=1, batch_size=16, patience=0)
    memory, threads = [], []
    for _ in range(10):
        model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)
        kept.append(weakref.ref(model))
        kzoo.fit(model, tiny, recipe, run_dir=tmp_path / "run", verbose=0)
        shutil.rmtree(tmp_path / "run")
        del model
        gc.collect()
        memory.append(resident_megabytes())
        threads.append(len(os.listdir("/proc/self/task")))
    assert [reference for reference in kept if reference() is not None] == []
    assert max(threads[5:]) <= max(threads[1:5])
    assert sum(memory[7:]) < 1.03 * sum(memory[2:5]), memory
