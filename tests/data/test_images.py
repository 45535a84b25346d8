import io

import numpy as np
import pytest
from PIL import Image

from kzoo.data import decode_image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_decode_image_converts_every_mode_to_rgb(mode):
    file = io.BytesIO()
    # Without compression Pillow 12 cannot read its own YCbCr.
    Image.new("L", (3, 4), 255).convert(mode).save(file, "TIFF", compression="tiff_lzw")
    image = decode_image(file.getvalue(), "white")
    assert (image.dtype, image.shape) == (np.uint8, (4, 3, 3))
    assert image.min() >= 253  # YCbCr rounds


def test_decode_image_scales_sixteen_bits_to_eight():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.uint16)).save(file, "PNG")
    assert decode_image(file.getvalue(), "deep")[0, :, 0].tolist() == [0, 0x12, 0xFF]


def test_decode_image_reads_a_palette_with_transparency():
    file = io.BytesIO()
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.save(file, "PNG", transparency=b"\x00\x80")
    assert decode_image(file.getvalue(), "palette")[0, 0].tolist() == [9, 8, 7]


def test_decode_image_applies_the_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    file = io.BytesIO()
    Image.new("RGB", (5, 2)).save(file, "PNG", exif=exif)
    assert decode_image(file.getvalue(), "turned").shape == (5, 2, 3)


def test_decode_image_resizes_to_height_and_width(encoded):
    assert decode_image(encoded(size=(8, 8)), "square", (6, 5)).shape == (6, 5, 3)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP"])
def test_decode_image_names_a_truncated_file(encoded, file_format):
    data = encoded(size=(40, 40), file_format=file_format)
    with pytest.raises(ValueError, match=r"'cut\.img' must be a readable image file"):
        decode_image(data[: len(data) // 2], "cut.img")


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_decode_image_names_a_file_that_is_no_image(data):
    with pytest.raises(ValueError, match=r"'notes\.txt' must be a readable image file"):
        decode_image(data, "notes.txt")
