"""Fixtures for all tests. Nothing here imports Keras: tests/cross runs in an environment without it."""

import os
import sys
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def _keras_as_it_was() -> Iterator[None]:
    """Undoes what a test set in Keras, where the test has it: floatx, dtype policy, image format, layer names."""
    before = _keras_settings()
    yield
    keras = sys.modules.get("keras")
    if keras is None:
        return
    keras.utils.clear_session(free_memory=False)
    floatx, policy, image_data_format = before or ("float32", "float32", "channels_last")
    if keras.config.floatx() == "float64" and "kzoo" in sys.modules:
        sys.modules["kzoo"].set_precision("float32")
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(image_data_format)


def _keras_settings() -> tuple[str, str, str] | None:
    keras = sys.modules.get("keras")
    if keras is None:
        return None
    return keras.config.floatx(), keras.config.dtype_policy().name, keras.config.image_data_format()


try:
    import hypothesis
except ImportError:
    pass
else:
    # A loaded machine must not fail a test; the same examples each time, so that a failure is everybody's.
    hypothesis.settings.register_profile("kzoo", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("kzoo")
