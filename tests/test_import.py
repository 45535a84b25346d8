import json
import subprocess
import sys

import keras

BACKENDS = {"tensorflow", "jax", "torch"}
NEEDED_LATER = {"PIL", "array_record", "matplotlib", "sklearn", "tensorflow_datasets", "typer"}


def in_new_process(code):
    """Returns what `code` prints last, read as JSON, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_import_kzoo_imports_only_the_chosen_backend_and_nothing_needed_later():
    # What Keras imports by itself, which depends on its version, is not ours.
    code = "import json, sys, keras; old = set(sys.modules); import kzoo; print(json.dumps([*{*sys.modules} - old]))"
    added = {name.partition(".")[0] for name in in_new_process(code)}
    assert added & (BACKENDS | NEEDED_LATER) <= {keras.config.backend()}


def test_import_kzoo_finds_no_other_backend_imported():
    code = "import json, sys, kzoo; print(json.dumps([*sys.modules]))"
    assert set(in_new_process(code)) & BACKENDS == {keras.config.backend()}


def test_models_need_nothing_that_is_needed_later():
    absent = f"import sys; sys.modules |= dict.fromkeys({sorted(NEEDED_LATER)})"
    assert in_new_process(f"{absent}; import kzoo; print(kzoo.resnet20().count_params())") > 269_722


def test_import_kzoo_adds_little_to_keras():
    code = "import time, keras; start = time.perf_counter(); import kzoo; print(time.perf_counter() - start)"
    assert min(in_new_process(code) for _ in range(3)) < 0.3
