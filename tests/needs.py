"""What tests of the server need, and its helpers."""

import importlib.util

import pytest

SERVER = ("httptools", "openvino", "prometheus_client", "starlette", "uvicorn")


def skip_without(*names):
    """Skips what needs packages that are not here."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {' and '.join(missing)}: run by the serving-cpu environment")
