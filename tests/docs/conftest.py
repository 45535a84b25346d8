import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm_program import warm_program


@pytest.fixture(scope="session")
def path_of_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The path on which pages find their programs: a `kzoo` that need not import Keras, and this environment's."""
    with warm_program(tmp_path_factory.mktemp("bin")) as folder:
        yield os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
