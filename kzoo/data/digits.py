"""The handwritten digits that come with scikit-learn."""

import numpy as np

from kzoo.data.dataset import Parts, Split, carve_validation

_TEST_FRACTION = 0.2
_TEST_SEED = 1797  # never the user's seed: every run is tested on the same 20 %


def read_digits(image_size: tuple[int, int] = (32, 32)) -> Parts:
    """Reads 1,797 handwritten digits of 8x8 pixels, enlarged and in RGB. Needs no network.

    Args:
        image_size: `(height, width)` in pixels to resize to (bicubic). Defaults to `(32, 32)`.

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

    height, width = image_size
    digits = load_digits()
    grey = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)  # 0..16 -> 0..255, rounded
    resized = [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)) for image in grey]
    images = np.repeat(np.stack(resized)[..., None], 3, axis=-1)
    train, test = carve_validation(Split(images, digits.target.astype(np.int64)), _TEST_FRACTION, _TEST_SEED)
    return Parts("digits", tuple("0123456789"), train, None, test)
