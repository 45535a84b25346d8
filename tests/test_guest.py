"""kzoo is a guest in somebody else's process: whatever is not its own stays as it was.

Everything runs in processes of their own: what this one has imported and set, other tests have.
"""

import json
import os
import platform
import subprocess
import sys

import pytest

# Writes down all that can be seen of the process: the attributes of every module, and of every class in it, of Keras
# and the backend; the environment, warning filters, loggers, recursion limit, precision and random state.
LOOK = """
import json, logging, os, random, resource, sys, warnings
import keras, numpy as np

BACKEND = keras.config.backend()
PACKAGES = {"keras", "numpy", *{"tensorflow": ["tensorflow"], "jax": ["jax", "jaxlib"], "torch": ["torch"]}[BACKEND]}
# Caches and counters of their own, which any model fills.
COUNTS = {"_DISPATCH_CACHE", "__warningregistry__", "_saved_tensors_hooks"}

def is_plain(value):
    return isinstance(value, bool | int | float | str | bytes | type(None))

def identity(value):
    return repr(value) if is_plain(value) else id(value)

def look():
    seen = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in PACKAGES or module is None:
            continue
        for key, value in list(vars(module).items()):
            if key in COUNTS or "cache" in key.lower():
                continue
            seen[f"{name}:{key}"] = identity(value)
            if isinstance(value, type) and value.__module__ == name:
                for inner, member in list(vars(value).items()):
                    # Functions and what says how a class behaves; counters of instances are the class's own business.
                    if callable(member) or isinstance(member, property | staticmethod | classmethod):
                        seen[f"{name}:{key}.{inner}"] = id(member)
            elif isinstance(value, dict):  # what is there must stay; kzoo's own layers are added to Keras's register
                seen |= {f"{name}:{key}[{inner!r}]": identity(item) for inner, item in list(value.items())[:1000]}
    import keras.src.backend.common.dtypes as dtypes
    seen["promotion"] = repr(sorted(dtypes.BIT64_TO_BIT32_DTYPE.items()))
    seen["environment"] = repr(sorted(os.environ.items()))
    seen["filters"] = repr(warnings.filters)
    root = logging.root
    seen["loggers"] = repr([root.level, root.handlers, root.disabled, root.manager.disable])
    seen["recursion limit"] = sys.getrecursionlimit()
    seen["precision"] = repr([keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()])
    seen["policy"] = keras.config.dtype_policy().name
    seen["NumPy's random numbers"] = repr(np.random.get_state())
    seen["Python's random numbers"] = repr(random.getstate())
    if BACKEND == "jax":
        import jax
        seen["JAX"] = repr(sorted((key, str(value)) for key, value in jax.config.values.items()))
    if BACKEND == "torch":
        import torch
        seen["PyTorch"] = repr([torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
                                torch.are_deterministic_algorithms_enabled()])
    return seen

def changed(before, after):
    # Modules that are imported later bring attributes of their own; what was there must be the same.
    return sorted(key for key in before if before[key] != after.get(key))
"""

WARM = """
# Whatever Keras and the backend change by themselves at their first model, they have changed now.
inputs = keras.Input((8, 8, 3))
outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs)))
theirs = keras.Model(inputs, outputs)
theirs.compile("sgd", "mse")
x, y = np.zeros((8, 8, 8, 3), np.uint8), np.zeros((8, 2), np.float32)
theirs.fit(x, y, batch_size=4, verbose=0, validation_data=(x, y))
theirs.predict(x, verbose=0)
theirs.save("theirs.keras")
np.random.seed(0); random.seed(0)
"""

USE = {
    "import": "import kzoo",
    "build": "import kzoo; kzoo.resnet1202(input_shape=(8, 8, 3))",
    "fit and predict": """
import kzoo
ours = kzoo.resnet(8, input_shape=(8, 8, 3), classes=2, dropout=0.1)
ours.compile(kzoo.SGD(0.01), "mse")
ours.fit(x, y, batch_size=4, verbose=0, shuffle=False)
split = kzoo.Split(x, np.arange(8) % 2)
ours.fit(kzoo.Batches(split, 2, batch_size=4), verbose=0, shuffle=False, validation_data=(x, y))
ours.evaluate(x, y, verbose=0)
ours.predict(x, verbose=0)
kzoo.evaluate(ours, x, np.arange(8) % 2)
kzoo.fold_batch_norm(ours).predict(x, verbose=0)
""",
    "train": """
import kzoo
split = kzoo.Split(np.random.RandomState(0).randint(0, 256, (40, 8, 8, 3)).astype("uint8"), np.arange(40) % 2)
dataset = kzoo.Dataset("noise", ("a", "b"), split, split, split, flip=False)
recipe = kzoo.recipe("default").override(epochs=1, patience=0, precision=PRECISION)
run = kzoo.train("resnet8", dataset, recipe, run_dir="run-" + PRECISION, verbose=0)
kzoo.evaluate_saved(run.directory, dataset=dataset)
run.load_model().predict(split.images, verbose=0)
""",
}


def in_new_process(code, tmp_path, **environment):
    """Returns what `code` prints last, read as JSON."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KZOO_", "MALLOC_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("what", "precision"),
    [("import", ""), ("build", ""), ("fit and predict", ""), ("train", "float32"), ("train", "float64")],
    ids=lambda value: value.replace(" ", "_"),
)
def test_nothing_that_is_not_kzoos_changes(what, precision, tmp_path):
    code = f"{LOOK}\n{WARM}\nPRECISION = {precision!r}\nbefore = look()\n{USE[what]}\n"
    code += "print(json.dumps(changed(before, look())))"
    assert in_new_process(code, tmp_path) == []


def test_a_change_would_be_seen(tmp_path):
    code = f"{LOOK}\n{WARM}\nbefore = look()\nkeras.Function._run_through_graph = lambda: None\n"
    code += "sys.setrecursionlimit(5000)\nos.environ['KZOO'] = '1'\nprint(json.dumps(changed(before, look())))"
    found = in_new_process(code, tmp_path)
    assert {"recursion limit", "environment"} <= set(found)
    assert any(key.endswith(":Function._run_through_graph") for key in found)


MEMORY = """
import json, os, numpy as np, keras
IMPORT
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

before = resident()
# glibc takes blocks of up to 32 MB from its heap once one of that size was freed: then one small block of another
# thread at the heap's end would hold all below it. Nothing before frees any of 31 MB.
arrays = [np.ones(31 * 2**18, np.float32) for _ in range(20)]
del arrays
print(json.dumps((resident() - before) / 2**20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="reads Linux's account of memory")
@pytest.mark.parametrize(
    "code", ["import kzoo", "import kzoo; kzoo.resnet20().predict(np.zeros((8, 32, 32, 3)), verbose=0)"]
)
def test_memory_that_a_user_frees_goes_back_to_the_system(code, tmp_path):
    assert in_new_process(MEMORY.replace("IMPORT", code), tmp_path) < 30  # of 620 MB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is kept by glibc")
def test_memory_is_kept_where_the_user_asks_for_it(tmp_path):
    assert in_new_process(MEMORY.replace("IMPORT", "import kzoo"), tmp_path, KZOO_TUNE_PROCESS="1") > 300
