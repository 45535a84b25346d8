"""Fixtures for all tests. Nothing here imports Keras: tests/cross runs in an environment without it."""

import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

_SHARED = Path(os.environ.get("KZOO_SHARED") or Path(__file__).parents[2] / "shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `shared` where the shared data is not there."""
    if not _SHARED.is_dir():
        skip = pytest.mark.skip(reason=f"needs the shared data: no folder {_SHARED} (set KZOO_SHARED)")
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data and weights; tests that use it are marked `shared`."""
    return _SHARED


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What kzoo keeps in the user's home goes into a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KZOO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def _keras_as_it_was() -> Iterator[None]:
    """Undoes what a test or a fixture of its module set: precision, image format, layer names, determinism."""
    yield
    keras, kzoo = sys.modules.get("keras"), sys.modules.get("kzoo")
    if keras is None:
        return
    keras.utils.clear_session(free_memory=False)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    if kzoo is not None:
        kzoo.set_precision("float32")
    if keras.config.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", False)
    _undo_determinism(keras.backend.backend())


def _undo_determinism(backend: str) -> None:
    """`kzoo.deterministic()` is for good; on TensorFlow every test after it would need a seed."""
    if backend == "tensorflow":
        from tensorflow.python.framework import config

        config.disable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(False)
        for part in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            part.fp32_precision = "tf32"
        for part in (torch.backends.cuda, torch.backends.mkldnn):
            part.matmul.fp32_precision = "none"
        for part in (torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn):
            part.fp32_precision = "none"


@pytest.fixture
def repeatable() -> None:
    """The same results to the bit on PyTorch's GPUs too; JAX and TensorFlow are told by tox."""
    keras, kzoo = sys.modules["keras"], sys.modules["kzoo"]
    if keras.backend.backend() == "torch" and kzoo.environment.device_kind() == "gpu":
        kzoo.deterministic()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keras not imported yet, KERAS_BACKEND unset and no settings file; returns where that file would be."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path / "keras.json"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that makes exactly the named backends look installed."""

    def install(*names: str) -> None:
        for name in ("tensorflow", "jax", "torch"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: ModuleSpec(name, None, origin="x.py") if name in names else None
        )

    return install


try:
    import hypothesis
except ImportError:
    pass
else:
    # A loaded machine must not fail a test; the same examples each time, so that a failure is everybody's.
    hypothesis.settings.register_profile("kzoo", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("kzoo")
