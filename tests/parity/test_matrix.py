"""What parity-cpu and parity-gpu of tox do, on recordings that only say that they come from three backends."""

import dataclasses

import numpy as np
import pytest

from kzoo.parity.matrix import BACKENDS, compare_matrix, main


@pytest.fixture
def folder(sound, tmp_path):
    """Returns a folder with a recording of each backend on each of the devices."""

    def make(*devices):
        for backend in BACKENDS:
            for device in devices:
                save(sound, tmp_path, backend, device)
        return tmp_path

    return make


def save(recording, folder, backend, device, name=None, **arrays):
    environment = {**recording.environment, "backend": backend, "device": device}
    changed = dataclasses.replace(recording, environment=environment, arrays={**recording.arrays, **arrays})
    changed.save(folder / (name or f"py311-{backend}-{device}.npz"))


def test_cpu_compares_the_three_backends(folder):
    (comparison,) = compare_matrix(folder("cpu"), "cpu")
    assert [recording.environment["backend"] for recording in comparison.recordings] == list(BACKENDS)
    assert main([str(folder("cpu")), "cpu"]) == 0


def test_gpu_compares_the_three_backends_and_each_with_its_cpu(folder):
    comparisons = compare_matrix(folder("cpu", "gpu"), "gpu")
    places = [[(r.environment["backend"], r.environment["device"]) for r in c.recordings] for c in comparisons]
    assert places == [
        [(backend, "gpu") for backend in BACKENDS],
        *([(backend, "cpu"), (backend, "gpu")] for backend in BACKENDS),
    ]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_difference_fails_the_matrix(folder, sound, device, capsys):
    made = folder("cpu", "gpu")
    save(sound, made, "jax", device, **{"losses/step 2": np.array(0.1)})
    assert main([str(made), device]) == 1
    assert "FAILED, first in losses at step 2." in capsys.readouterr().out


def test_gpu_that_differs_from_the_cpu_alike_on_all_backends_fails(folder, sound):
    made = folder("cpu", "gpu")
    for backend in BACKENDS:
        save(sound, made, backend, "gpu", **{"losses/step 2": np.array(0.1)})
    assert main([str(made), "gpu"]) == 1


def test_missing_recording_is_an_error_that_says_how_to_make_it(folder):
    made = folder("cpu", "gpu")
    (made / "py311-jax-cpu.npz").unlink()
    with pytest.raises(ValueError, match=r"Missing: run `tox -e py311-jax-cpu`."):
        compare_matrix(made, "gpu")


def test_recording_is_of_the_device_that_it_says_not_that_of_its_name(folder, sound):
    made = folder("cpu")
    for backend in BACKENDS:
        save(sound, made, backend, "cpu", name=f"py311-{backend}-gpu.npz")
    with pytest.raises(ValueError, match=r"one recording of jax-cpu. Received: py311-jax-cpu.npz, py311-jax-gpu.npz."):
        compare_matrix(made, "gpu")
