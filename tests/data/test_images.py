import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, features

from kzoo.data import Decoding, decode_image

GREYS = np.array([[0, 85, 170, 255]], np.uint8)


def written(image, file_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_decode_image_converts_every_mode_to_rgb(mode):
    # Without compression Pillow 12 cannot read its own YCbCr.
    image = decode_image(written(Image.new("L", (3, 4), 255).convert(mode), "TIFF", compression="tiff_lzw"), "white")
    assert (image.dtype, image.shape) == (np.uint8, (4, 3, 3))
    assert image.min() >= 253  # YCbCr rounds


@pytest.mark.parametrize(
    ("values", "file_format"),
    [
        (GREYS / np.float32(255), "TIFF"),
        (GREYS.astype(np.uint16) * 257, "PNG"),
        (GREYS.astype(np.uint16) * 257, "TIFF"),
        (GREYS.astype(np.int32) * 257, "PPM"),
        (GREYS, "BMP"),
        (GREYS, "WEBP"),
        (GREYS > 100, "PNG"),
    ],
)
def test_greys_of_any_depth_are_the_same(values, file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    pixels = decode_image(written(Image.fromarray(values), file_format, **options), "greys")
    expected = GREYS if values.dtype != bool else (GREYS > 100) * np.uint8(255)
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=-1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GREYS.astype(np.int32), "of 32-bit integers nothing says which number is white, and these go from 0 to 255"),
        (GREYS.astype(np.float32), r"expected in \[0, 1\], and these go from 0.0 to 255.0"),
        (np.float32([[0, np.nan]]), "from nan to nan"),
    ],
)
def test_pixels_of_an_unknown_range_are_refused(values, message):
    with pytest.raises(ValueError, match=f"'scan.tif' must be a readable image file. Received: .*{message}"):
        decode_image(written(Image.fromarray(values), "TIFF"), "scan.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB"])
@pytest.mark.parametrize("background", [255, 0])
def test_transparent_pixels_show_the_background(mode, background):
    clear, solid = (40, 40, 40, 0), (90, 90, 90, 255)
    image = Image.new("RGBA", (2, 1), solid)
    image.putpixel((0, 0), clear)
    options = {}
    if mode in ("L", "RGB"):
        image, options = image.convert(mode), {"transparency": 40 if mode == "L" else (40, 40, 40)}
    elif mode == "P":
        image = Image.new("P", (2, 1), 1)
        image.putpalette([40, 40, 40, 90, 90, 90])
        image.putpixel((0, 0), 0)
        options = {"transparency": 0}
    elif mode == "LA":
        image = image.convert("LA")
    pixels = decode_image(written(image, **options), "logo", background=background)
    assert pixels[0].tolist() == [[background] * 3, [90] * 3]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientations_are_applied(orientation, file_format):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255  # the upper left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(file_format, {})
    data = written(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif, **options)
    assert np.abs(decode_image(data, "photo").astype(int) - upright).max() <= 2


def test_orientation_counts_whatever_else_is_odd():
    width = struct.pack("<HHI4s", 0x0100, 2, 4, b"big")  # as text
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + width + struct.pack("<HHIHHI", 0x0112, 3, 1, 6, 0, 0)
    assert decode_image(written(Image.new("RGB", (5, 2)), "JPEG", exif=exif), "turned").shape == (5, 2, 3)


def test_transparency_of_sixteen_bits_is_seen():
    data = written(Image.fromarray(np.array([[0x1234, 0x4000]], np.uint16)), "PNG", transparency=0x1234)
    assert decode_image(data, "deep")[0, :, 0].tolist() == [255, 0x40]


def png(depth, color, rows, clear):
    """A PNG file of a depth that Pillow does not write; rows as bytes, `clear` as 16-bit numbers."""
    height, width = len(rows), len(rows[0]) * 8 // depth // (1, 0, 3)[color]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))]
    chunks += [(b"tRNS", struct.pack(f">{len(clear)}H", *clear))]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(2, 0, [bytes([0b00011011])], [2]), [[0] * 3, [85] * 3, [9] * 3, [255] * 3]),
        (png(4, 0, [bytes([0x3F])], [3]), [[9] * 3, [255] * 3]),
        (png(4, 0, [bytes([0x3F])], [0xF3]), [[9] * 3, [255] * 3]),  # of the number, only its depth counts
        (
            png(16, 2, [struct.pack(">6H", 0x1122, 0x3344, 0x5566, 0x8000, 0, 0xFFFF)], [0x1122, 0x3344, 0x5566]),
            [[9] * 3, [0x80, 0, 0xFF]],
        ),
    ],
)
def test_transparent_colors_of_any_depth_are_seen(data, expected):
    assert decode_image(data, "logo", background=9)[0].tolist() == expected


@pytest.mark.parametrize("ycck", [False, True])
def test_ink_on_paper_becomes_light(ycck):
    """CMYK as Adobe writes it, the inks inverted, and YCCK, whose first three channels are coded as those of a JPEG."""
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    inks = np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1], ramp[::-1, None] // 4), axis=-1)
    stored = inks.copy()
    if ycck:  # libjpeg makes 255 - RGB of YCC, and Pillow stores 255 - x
        stored[..., :3] = 255 - np.asarray(Image.fromarray(inks[..., :3]).convert("YCbCr"))
    data = written(Image.frombytes("CMYK", (32, 32), stored.tobytes()), "JPEG", quality=100, subsampling=0)
    marker = data.index(b"Adobe") + 11
    assert data[marker] == 0  # CMYK
    data = data[:marker] + bytes([2 if ycck else 0]) + data[marker + 1 :]
    light = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:]) / 255
    assert np.abs(decode_image(data, "print") - light).max() <= 6


@pytest.mark.parametrize("clear", [False, True])
def test_first_picture_of_a_gif_may_be_smaller_than_its_canvas(clear):
    image = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8), "P")
    image.putpalette([40, 50, 60, 255, 0, 0])
    data = bytearray(written(image, "GIF", **({"transparency": 0} if clear else {})))
    start = data.index(b"\x2c\0\0\0\0\2\0\2\0")
    data[6:10] = struct.pack("<HH", 5, 4)  # the canvas
    data[start + 1 : start + 5] = struct.pack("<HH", 3, 1)  # where the picture is on it
    pixels = decode_image(bytes(data), "moving", background=9)
    expected = np.full((4, 5, 3), 9)
    expected[1:3, 3:] = [255, 0, 0]
    expected[1, 3] = [9, 9, 9] if clear else [40, 50, 60]
    np.testing.assert_array_equal(pixels, expected)


def test_images_too_thin_to_be_resized_are_refused(monkeypatch):
    data = written(Image.new("L", (1, 5000)))
    monkeypatch.setattr("kzoo.data.images.LARGEST", 100_000)
    with pytest.raises(ValueError, match="an image less extreme than 1x5000 is expected"):
        decode_image(data, "thin", 224)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_leaves_the_image_as_it_is():
    data = written(Image.new("RGB", (4, 2), (9, 9, 9)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode_image(data, "photo").shape == (2, 4, 3)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_first_picture(file_format):
    frames = [Image.new("RGB", (3, 2), color) for color in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = written(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert decode_image(data, "moving")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.skipif("avif" not in features.get_supported(), reason="this Pillow has no AVIF")
def test_avif_is_read():
    assert decode_image(written(Image.new("RGB", (8, 8), (255, 255, 255)), "AVIF"), "photo").min() > 250


def test_heic_names_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40
    with pytest.raises(ValueError, match="a HEIC file, which needs: pip install 'kzoo\\[heif\\]'"):
        decode_image(data, "IMG_0001.HEIC")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_read(orientation, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    image, exif = Image.new("RGB", (64, 48), (200, 30, 30)), Image.Exif()
    image.paste((10, 200, 10), (0, 0, 32, 24))
    exif[0x0112] = orientation
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, exif=exif.tobytes(), quality=-1)
    pixels = decode_image(file.getvalue(), "IMG_0001.HEIC")
    assert np.abs(pixels.astype(int) - decode_image(written(image, exif=exif), "same")).max() <= 1
    monkeypatch.setattr("kzoo.data.images.LARGEST", 1000)
    with pytest.raises(ValueError, match="'IMG_0001.HEIC' .* at most 1,000 pixels are expected, and it has"):
        decode_image(file.getvalue(), "IMG_0001.HEIC")


@pytest.mark.parametrize("wide", [True, False])
def test_images_are_cropped_or_padded(wide):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 100
    image = Image.fromarray(pixels if wide else pixels.transpose(1, 0, 2))
    crop = decode_image(written(image), "wide", (4, 4), resize="crop")
    np.testing.assert_array_equal(crop, np.full((4, 4, 3), 100))
    pad = decode_image(written(image), "wide", (8, 8), resize="pad", background=7)
    inner = pad[2:6] if wide else pad[:, 2:6].transpose(1, 0, 2)
    np.testing.assert_array_equal(inner, pixels)
    outer = pad[[0, 1, 6, 7]] if wide else pad[:, [0, 1, 6, 7]]
    assert (outer == 7).all()


@pytest.mark.parametrize(("channels", "pixel"), [(1, [76]), (3, [255, 0, 0]), (4, [255, 0, 0, 255])])
def test_channels_are_chosen(channels, pixel):
    image = decode_image(written(Image.new("RGB", (2, 2), (255, 0, 0))), "red", 2, channels=channels)
    assert image[0, 0].tolist() == pixel


def test_images_that_expand_to_too_much_are_refused(monkeypatch):
    monkeypatch.setattr("kzoo.data.images.LARGEST", 100)
    with pytest.raises(ValueError, match="'bomb.png' .* at most 100 pixels are expected, and it has 11x10"):
        decode_image(written(Image.new("L", (11, 10))), "bomb.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "crp"}, "`resize` must be one of stretch, crop, pad. .* Did you mean 'crop'"),
        ({"channels": 2}, "`channels` must be 1, 3 or 4. Received: channels=2"),
        ({"background": 256}, "`background` must be 0 to 255. Received: background=256"),
    ],
)
def test_decoding_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**options)


def test_decode_image_scales_sixteen_bits_to_eight():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.uint16)).save(file, "PNG")
    assert decode_image(file.getvalue(), "deep")[0, :, 0].tolist() == [0, 0x12, 0xFF]


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_image_is_the_same_whatever_rows_are_composed_at_once(mode, channels, monkeypatch):
    random = np.random.RandomState(0)
    image = Image.fromarray(random.randint(0, 256, (13, 7, 4)).astype(np.uint8)).convert(mode)
    rgba = image.convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", image.size, (77, 77, 77, 255)), rgba)
    expected = np.asarray(whole.convert({1: "L", 3: "RGB"}[channels])).reshape(13, 7, channels)
    for pixels in (1, 7, 30, 1 << 20):
        monkeypatch.setattr("kzoo.data.images._PIXELS_AT_ONCE", pixels)
        found = Decoding(channels=channels, background=77).pixels(image)
        np.testing.assert_array_equal(found, expected)
