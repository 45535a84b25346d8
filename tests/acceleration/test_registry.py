"""Which accelerations are on, why others are off, and that kzoo runs without any of them."""

import importlib
import json
import os
import subprocess
import sys
import threading

import keras
import pytest

import kzoo
from kzoo.acceleration import registry
from kzoo.acceleration.registry import Acceleration

BACKEND = keras.config.backend()
VERSIONS = {"keras": ">=3.15"}
only_with_acceleration = pytest.mark.skipif(not registry.SWITCHED_ON, reason="KZOO_ACCELERATION=off")


def make(versions=VERSIONS, needs=("keras:Model",), check=lambda: True):
    return Acceleration("a", does="b", brings="c", versions=versions, needs=needs, check=check)


def fails():
    raise RuntimeError("no")


def not_here():
    raise registry.NotHereError("for GPUs")


@only_with_acceleration
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, None),
        ({"versions": {"keras": "<3"}}, f"known for keras<3, here is {keras.__version__}"),
        (
            {"needs": ("keras:Model", "keras:Model._nothing", "kzoo_nothing:x")},
            "no keras.Model._nothing, kzoo_nothing.x here",
        ),
        ({"check": lambda: False}, "the check gave another result than the definition"),
        ({"check": fails}, "the check failed: RuntimeError: no"),
        ({"check": not_here}, "for GPUs"),
    ],
)
def test_acceleration_is_off_for_a_reason(options, reason):
    acceleration = make(**options)
    assert acceleration.why_off == reason
    assert acceleration.is_active() is (reason is None)


@only_with_acceleration
def test_check_runs_once_and_sees_nothing_of_the_caller():
    seen = []
    acceleration = make(check=lambda: seen.append(threading.current_thread()) or True)
    assert acceleration.is_active()
    assert acceleration.is_active()
    assert len(seen) == 1
    assert seen[0] is not threading.current_thread()


def test_everything_is_switched_off_by_the_environment(monkeypatch):
    monkeypatch.setattr(registry, "SWITCHED_ON", False)
    assert make().why_off == "KZOO_ACCELERATION=off"


@only_with_acceleration
def test_on_the_versions_of_the_matrix_all_is_on_that_may_be():
    report = kzoo.acceleration_report()
    whole_process = {"freed memory is kept", "oneDNN in TensorFlow", "steps use their memory again"}
    on_cpus = {"oneDNN on JAX", "packed convolutions", "steps use their memory again"}
    left = whole_process | (on_cpus if kzoo.environment.device_kind() == "gpu" else set())
    off = {one["name"]: one["reason"] for one in report if not one["active"]}
    assert {name: reason for name, reason in off.items() if name not in left} == {}
    assert all(one["does"] and one["brings"] for one in report)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch has one stream of random numbers for the process")
def test_checks_draw_none_of_the_users_random_numbers():
    code = "import torch, kzoo; before = torch.get_rng_state(); kzoo.acceleration_report()"
    assert in_new_process(f"{code}; print(torch.equal(before, torch.get_rng_state()))").stdout.split()[-1] == "True"


@only_with_acceleration
@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch has a dtype for the process")
def test_checks_do_not_depend_on_the_users_dtype():
    code = "import torch, kzoo; torch.set_default_dtype(torch.float64)"
    done = in_new_process(f"{code}; print([one['active'] for one in kzoo.acceleration_report()[:-1]])")
    assert "False" not in done.stdout.splitlines()[-1]


def in_new_process(code, *arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KZOO_")}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, timeout=600, check=False
    )


def test_report_says_what_the_environment_turned_off():
    code = "import json, kzoo; print(json.dumps(kzoo.acceleration_report()))"
    report = json.loads(in_new_process(code, KZOO_ACCELERATION="off").stdout.splitlines()[-1])
    own = [one for one in report if one["name"] not in ("freed memory is kept", "oneDNN in TensorFlow")]
    assert own
    assert all((one["active"], one["reason"]) == (False, "KZOO_ACCELERATION=off") for one in own)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("KZOO_ACCELERATION", "KZOO_ACCELERATION must be 'on' or 'off'. Received: 'no'."),
        ("KZOO_TUNE_PROCESS", "KZOO_TUNE_PROCESS must be '1' or '0'. Received: 'no'."),
    ],
)
def test_settings_that_are_none_are_errors(name, message):
    done = in_new_process("import kzoo", **{name: "no"})
    assert done.returncode != 0
    assert message in done.stderr


# For each private name: takes it away in a fork of its own, imports kzoo there, builds a model and runs it.
WITHOUT = """
import importlib, json, os, sys, traceback
import keras, numpy as np

def run_without(name, only_import):
    module, _, path = name.partition(":")
    *owners, last = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    if path.startswith("ops."):  # `torch.ops` makes anew what is deleted
        setattr(owner, last, None)
    else:
        delattr(owner, last)
    import kzoo

    assert kzoo.list_models()
    if not only_import:
        model = kzoo.resnet(8, input_shape=(8, 8, 3))
        reasons = [one["reason"] or "" for one in kzoo.acceleration_report()]
        assert any(name.replace(":", ".") in reason for reason in reasons), reasons
        model.compile(kzoo.SGD(0.01), "mse")
        model.fit(np.zeros((2, 8, 8, 3), "uint8"), np.zeros((2, 10)), verbose=0)
        assert kzoo.fold_batch_norm(model).predict(np.zeros((2, 8, 8, 3), "uint8"), verbose=0).shape == (2, 10)

failed = {}
for name, only_import in json.loads(sys.argv[1]).items():
    reader, writer = os.pipe()
    if not os.fork():
        try:
            run_without(name, only_import)
        except BaseException:
            os.write(writer, traceback.format_exc()[-3000:].encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as said:
        if text := said.read():
            failed[name] = text
print(json.dumps(failed))
"""
# Without these Keras's own models, or the backend, do not run either: it is enough that kzoo is imported.
NEEDED_BY_OTHERS = {
    "jax._src.core:trace_state_clean",
    "jax.extend.core:Primitive",
    "jax.interpreters.batching:primitive_batchers",
    "jax.interpreters.mlir:lower_fun",
    "jax.interpreters.mlir:register_lowering",
    "keras:Function._run_through_graph",
    "keras.src.backend:get_autocast_scope",
    "keras.src.backend.jax.trainer:jit",
    "keras.src.trainers.data_adapters.array_data_adapter:can_convert_arrays",
    "keras.src.trainers.data_adapters.array_slicing:convert_to_sliceable",
    "keras.src.trainers.data_adapters.py_dataset_adapter:PyDatasetAdapter",
    "keras.src.trainers.data_adapters.array_data_adapter:ArrayDataAdapter",
    "tensorflow.python.framework.ops:gradient_registry",
    "tensorflow.python.framework.ops:gradient_registry._registry",
}
READ_BY_NAMES = (
    "keras.src.backend.common.stateless_scope:in_stateless_scope",
    "keras.src.backend.common.dtypes:BIT64_TO_BIT32_DTYPE",
    "tensorflow.python.util._pywrap_util_port:IsMklEnabled",
    "jax._src.xla_bridge:backends_are_initialized",
    "keras.src.trainers.data_adapters.array_slicing:train_validation_split",
)


@only_with_acceleration
def test_kzoo_runs_without_any_one_private_name():
    modules = [importlib.import_module(f"kzoo.acceleration.{file}") for file in registry._FILES[BACKEND]]
    names = {name: name in NEEDED_BY_OTHERS for module in modules for name in module.ACCELERATION.needs}
    names |= {name: True for name in READ_BY_NAMES if registry.find(name) is not None}
    # On the CPU: a fork cannot use the GPU that Keras took before it.
    done = in_new_process(WITHOUT, json.dumps(names), CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {}
