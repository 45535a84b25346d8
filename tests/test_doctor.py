import copy
import json
import subprocess
import sys

import keras
import pytest

from kzoo import doctor, environment

HEALTHY = {
    "backend": {
        "name": "torch",
        "chosen_by": "KERAS_BACKEND",
        "installed": ["torch"],
        "cuda": None,
        "onednn": None,
        "threads": 4,
        "threads_variable": "OMP_NUM_THREADS",
        "x64": True,
    },
    "devices": [{"kind": "cpu", "name": "x86_64"}],
    "versions": {
        "keras": "3.15.1",
        "tensorflow-datasets": "4.9.10",
        "importlib_resources": "7.1",
        "array_record": "0.8",
    },
    "cpu": {
        "model": "some processor",
        "architecture": "x86_64",
        "cores": 8,
        "usable_cores": 4,
        "avx512_vnni": False,
        "memory_available_gib": 16.0,
    },
    "keras": {
        "config_file": "keras.json",
        "floatx": "float32",
        "dtypes": ["float32"],
        "image_data_format": "channels_last",
    },
    "environment": {"KZOO_TUNE_PROCESS": "1"},
    "acceleration": [{"name": "one", "active": True, "reason": None}],
}


def report_with(changes):
    """Returns the healthy report with `changes`, a dictionary from "section.key" to a value; `None` removes."""
    report = copy.deepcopy(HEALTHY)
    for path, value in changes.items():
        section, _, key = path.partition(".")
        if not key:
            report[section] = value
        elif value is None:
            del report[section][key]
        else:
            report[section][key] = value
    return report


def said(table, changes):
    report = report_with(changes)
    return [advice.message.format(**report) for advice in table if advice.applies(report)]


@pytest.mark.parametrize("table", [doctor.PROBLEMS, doctor.FASTER])
def test_doctor_has_nothing_to_say_of_a_healthy_machine(table):
    assert said(table, {}) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"versions.keras": "3.14.9"}, "kzoo needs Keras 3.15 or later"),
        ({"versions.tensorflow": "2.21.0", "versions.tensorflow-cpu": "2.21.0"}, "are both installed"),
        ({"backend.name": "jax", "backend.x64": False, "keras.dtypes": ["float64"]}, "set JAX_ENABLE_X64=1"),
        ({"backend.cuda": "13.0"}, "torch is built for CUDA 13.0 and sees no GPU"),
        ({"versions.importlib_resources": None}, "pip install importlib_resources"),
        ({"versions.array_record": None}, "pip install array_record"),
        ({"keras.image_data_format": "channels_first"}, "image_data_format is channels_first"),
    ],
)
def test_doctor_names_the_one_problem(changes, message):
    (only,) = said(doctor.PROBLEMS, changes)
    assert message in only


@pytest.mark.parametrize(
    "changes",
    [
        {"versions.keras": "3.15.0"},
        {"backend.name": "jax", "backend.x64": True, "keras.dtypes": ["float64"]},
        {"backend.name": "jax", "backend.x64": False},
        {"backend.cuda": "13.0", "devices": [{"kind": "gpu", "name": "some GPU"}]},
        {"backend.cuda": "13.0", "environment.CUDA_VISIBLE_DEVICES": "-1"},
        {"versions.tensorflow-datasets": None, "versions.importlib_resources": None, "versions.array_record": None},
    ],
)
def test_doctor_finds_no_problem_in_a_good_neighbour_of_one(changes):
    assert said(doctor.PROBLEMS, changes) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backend.name": "tensorflow", "environment": {}},
            "TensorFlow leaves oneDNN off on this processor in scripts",
        ),
        ({"backend.name": "jax", "environment": {}}, "JAX trains in a sixth to a quarter less time"),
        ({"acceleration": [{"name": "one", "reason": "KZOO_ACCELERATION=off"}]}, "KZOO_ACCELERATION=off turns off all"),
        ({"backend.threads": 8}, "torch uses 8 threads on 4 usable cores: set OMP_NUM_THREADS=4"),
        ({"backend.threads": 1, "environment.OMP_NUM_THREADS": "1"}, "OMP_NUM_THREADS=1 leaves most of the 4 usable"),
        ({"cpu.memory_available_gib": 1.4}, "Only 1.4 GiB of memory are free"),
    ],
)
def test_doctor_names_the_one_setting_that_would_be_faster(changes, message):
    (only,) = said(doctor.FASTER, changes)
    assert message in only


@pytest.mark.parametrize(
    "changes",
    [
        {"backend.name": "tensorflow", "environment": {}, "cpu.avx512_vnni": True},  # where oneDNN is on by itself
        {"backend.name": "jax", "environment": {}, "devices": [{"kind": "gpu", "name": "some GPU"}]},
        {"backend.threads": 2, "environment.OMP_NUM_THREADS": "2"},  # one a physical core
    ],
)
def test_doctor_leaves_a_fast_setting_alone(changes):
    assert said(doctor.FASTER, changes) == []


def test_diagnose_finds_this_backend_and_its_devices():
    report = json.loads(json.dumps(doctor.diagnose()))
    assert report["backend"]["name"] == keras.config.backend()
    assert keras.config.backend() in report["backend"]["installed"]
    assert report["versions"]["keras"] == keras.__version__
    assert {device["kind"] for device in report["devices"]} & {"cpu", "gpu"}


def test_diagnose_sees_the_settings_of_keras():
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    report = doctor.diagnose()
    assert report["keras"]["dtypes"] == ["bfloat16", "float32"]
    assert any("channels_first" in problem for problem in report["problems"])


def test_diagnose_sees_a_requirement_that_is_not_met(monkeypatch):
    # What happens where the torch extra is installed first and TensorFlow is forced beside it.
    monkeypatch.setattr(environment, "versions", lambda: {"tensorflow-cpu": "2.21.0", "h5py": "3.16.0"})
    monkeypatch.setattr("importlib.metadata.requires", lambda name: {"h5py": None}.get(name, ["h5py<3.15.0,>=3.11.0"]))
    assert "tensorflow-cpu 2.21.0 needs h5py<3.15.0,>=3.11.0. Installed: 3.16.0." in doctor.diagnose()["problems"]


def test_diagnose_sees_a_distribution_in_two_versions(monkeypatch, tmp_path):
    for version in ("6.31.1", "7.0.0"):
        folder = tmp_path / version / f"protobuf-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: protobuf\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(folder.parent))
    (problem,) = [text for text in doctor.diagnose()["problems"] if text.startswith("protobuf is on the path")]
    assert "6.31.1" in problem
    assert "7.0.0" in problem


def test_render_shows_every_problem_and_every_faster_setting():
    text = doctor.render(report_with({"problems": ["one"], "faster": ["another"]}))
    assert "problem: one" in text
    assert "faster: another" in text
    assert "No known problem." not in text


def test_render_shows_what_is_off_and_why():
    off = [{"name": "one", "active": False, "reason": "no such thing"}, {"name": "two", "active": True, "reason": None}]
    text = doctor.render(report_with({"problems": [], "faster": [], "acceleration": off}))
    assert "speed     one: off: no such thing\nspeed     two: on" in text


def test_render_says_when_there_is_no_problem():
    text = doctor.render(report_with({"problems": [], "faster": []}))
    assert "torch (KERAS_BACKEND)" in text
    assert text.endswith("No known problem.")


@pytest.mark.parametrize(("kind", "status"), [("cpu", 1), ("gpu", 0)])
def test_require_gpu_decides_the_exit_status(monkeypatch, capsys, kind, status):
    devices = [{"kind": kind, "name": "some device"}]
    report = report_with({"devices": devices, "problems": [], "faster": []})
    monkeypatch.setattr(doctor, "diagnose", lambda: report)
    assert doctor.main(["--json", "--require-gpu"]) == status
    printed = capsys.readouterr()
    assert json.loads(printed.out)["devices"] == devices
    assert ("sees none. Seen: cpu: some device" in printed.err) == (status == 1)


def test_doctor_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "kzoo.doctor"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"backend   {keras.config.backend()} (")


@pytest.mark.gpu
def test_backend_sees_the_gpu():
    assert any(device.kind == "gpu" for device in environment.look_at_backend(keras.config.backend()).devices)
