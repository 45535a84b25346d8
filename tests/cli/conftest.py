import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A folder of 12x12 images of three colours."""
    root = tmp_path_factory.mktemp("data") / "colours"
    random = np.random.RandomState(0)
    for split, count in (("train", 20), ("test", 8)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = random.randint(0, 120, (12, 12, 3))
                image[..., channel] += 100
                Image.fromarray(image.astype(np.uint8)).save(root / split / name / f"{number}.png")
    return root
