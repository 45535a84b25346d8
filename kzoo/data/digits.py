"""The handwritten digits that come with scikit-learn."""

import dataclasses

import numpy as np

from kzoo.data.dataset import Parts, carve_validation
from kzoo.data.images import Decoding
from kzoo.data.split import Split

_TEST_FRACTION = 0.2
_TEST_SEED = 1797  # never the user's seed: every run is tested on the same 20 %


def read_digits(decoding: Decoding) -> Parts:
    """Reads 1,797 handwritten digits of 8x8 pixels, enlarged and in RGB. Needs no network.

    Args:
        decoding: The `Decoding`; without a size they become 32x32 pixels.

    Returns:
        `Parts` with a fixed, stratified test split of 20 % and no validation split.

    Raises:
        ImportError: If scikit-learn is missing.

    Reference:
        - [Alpaydin and Kaynak, 1998](https://doi.org/10.24432/C50P49)
    """
    from PIL import Image

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(f"The digits come with scikit-learn: pip install scikit-learn. Received: {error}.") from error

    decoding = dataclasses.replace(decoding, image_size=decoding.image_size or (32, 32))
    digits = load_digits()
    grey = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)  # 0..16 -> 0..255, rounded
    images = np.stack([decoding.pixels(Image.fromarray(image)) for image in grey])
    train, test = carve_validation(Split(images, digits.target.astype(np.int64)), _TEST_FRACTION, _TEST_SEED)
    return Parts("digits", tuple("0123456789"), train, None, test)
