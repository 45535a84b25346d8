import pytest

import kzoo
from kzoo.studies.bench import Bench


@pytest.fixture(scope="session")
def bench():
    """A bench of smoke tests: what one test compiles, the others need not."""
    return Bench(kzoo.load_dataset("digits", image_size=8), smoke=True)
