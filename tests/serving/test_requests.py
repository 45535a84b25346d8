import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from kzoo.data import Decoding, decode_image
from kzoo.serving import BadRequest, Limits
from kzoo.serving.requests import images_of_v1, images_of_v2

SIZE = (8, 6)
DECODING = Decoding(SIZE)
LIMITS = Limits(batch=3, pixels=1000)


def pixels(batch, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (batch, *SIZE, 3), np.uint8)


def file_of(size=(20, 10), suffix="PNG", mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, None).save(file, suffix)
    return file.getvalue()


def b64(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("form", [lambda image: image, lambda image: {"image": image}])
@pytest.mark.parametrize("signature", [{}, {"signature_name": "serving_default"}])
def test_v1_reads_pixels(form, signature):
    images = pixels(3)
    payload = {"instances": [form(image) for image in images.tolist()], **signature}
    read = images_of_v1(payload, DECODING, LIMITS)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, images)


@pytest.mark.parametrize("form", [lambda file: {"b64": file}, lambda file: {"image_bytes": {"b64": file}}])
@pytest.mark.parametrize(("suffix", "mode"), [("PNG", "RGBA"), ("JPEG", "L")])
def test_v1_reads_files_as_predict_does(form, suffix, mode):
    file = file_of(suffix=suffix, mode=mode)
    read = images_of_v1({"instances": [form(b64(file))] * 2}, DECODING, LIMITS)
    np.testing.assert_array_equal(read, [decode_image(file, "file", SIZE)] * 2)


def test_v2_reads_pixels_and_files():
    np.testing.assert_array_equal(images_of_v2("image", pixels(2), DECODING, LIMITS), pixels(2))
    for item in (file_of(), b64(file_of())):
        read = images_of_v2("image_bytes", np.array([item], object), DECODING, LIMITS)
        np.testing.assert_array_equal(read, [decode_image(file_of(), "file", SIZE)])


ONE = pixels(1).tolist()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], 'The body must be a JSON object with a list of "instances".'),
        (b"bytes", 'The body must be a JSON object with a list of "instances".'),
        ({"inputs": ONE}, 'The body must be a JSON object with a list of "instances".'),
        ({"instances": {}}, 'The body must be a JSON object with a list of "instances".'),
        ({"instances": []}, "A request must hold 1 to 3 images. Received: 0."),
        ({"instances": ONE * 4}, "A request must hold 1 to 3 images. Received: 4."),
        (
            {"instances": ONE, "signature_name": "train"},
            "encoded_images. Received: 'train'.",
        ),
        ({"instances": ONE, "signature_name": [1]}, "Received: [1]."),
        ({"instances": ONE, "signature_name": "encoded_images"}, 'Expected instances with "image_bytes" only.'),
        ({"instances": [*ONE, {"b64": ""}]}, 'Expected instances with "image" only.'),
        ({"instances": [ONE]}, "Every image must be 8x6x3 (height x width x channels). Received: [1, 8, 6, 3]."),
        ({"instances": [1]}, "Every image must be 8x6x3 (height x width x channels). Received: []."),
        ({"instances": [10**30]}, "Every image must be 8x6x3 (height x width x channels). Received: []."),
        ({"instances": [[1, [2]], [3]]}, "Received: lists of different lengths."),
        ({"instances": (pixels(1) + 0.5).tolist()}, "Pixels must be integers in [0, 255]. Received: float64 values."),
        ({"instances": (pixels(1) > 9).tolist()}, "Pixels must be integers in [0, 255]. Received: bool values."),
        ({"instances": (pixels(1) * 1.0 * np.nan).tolist()}, "Pixels must be integers in [0, 255]. Received: float64"),
        ({"instances": (pixels(1).astype(int) - 1000).tolist()}, "Pixels must be integers in [0, 255]. Received: -"),
        ({"instances": (pixels(1).astype(int) + 256).tolist()}, "Pixels must be integers in [0, 255]. Received: 2"),
        ({"instances": pixels(1).astype(str).tolist()}, "Pixels must be integers in [0, 255]. Received: str"),
        ({"instances": [{"pixels": 1}]}, 'An instance must be a list, {"image": [...]}'),
        ({"instances": [{"b64": 1}]}, "The file of instance 0 must be base64 text."),
        ({"instances": [{"b64": "é"}]}, "The file of instance 0 must be base64 text."),
        ({"instances": [{"b64": b64(b"GIF89a...")}]}, "Image 0 must be a JPEG or PNG file. Received: 9 other bytes."),
        ({"instances": [{"b64": b64(file_of(suffix="GIF"))}]}, "Image 0 must be a JPEG or PNG file."),
        ({"instances": [{"b64": b64(file_of()[:-30])}]}, "'image 0' must be a readable image file."),
        (
            {"instances": [{"b64": b64(file_of())}, {"b64": b64(file_of((40, 26)))}]},
            "Image 1 must have at most 1,000 pixels. Received: 40x26, 1,040.",
        ),
    ],
    ids=lambda value: json.dumps(value, default=str)[:40],
)
def test_v1_says_what_is_wrong(payload, message):
    with pytest.raises(BadRequest, match=re.escape(message)):
        images_of_v1(payload, DECODING, LIMITS)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("image", np.uint8(1), "A request must hold 1 to 3 images. Received: 0."),
        ("image", pixels(4), "A request must hold 1 to 3 images. Received: 4."),
        ("image", pixels(1).astype(np.float32), "Pixels must be integers in [0, 255]. Received: float32 values."),
        ("image", pixels(1).astype(np.int64) + 256, "Pixels must be integers in [0, 255]. Received: 2"),
        ("image", pixels(1)[..., 0], "Every image must be 8x6x3 (height x width x channels). Received: [8, 6]."),
        ("pixels", pixels(1), 'The input must be named "image" or "image_bytes". Received: \'pixels\'.'),
        ("image_bytes", pixels(1), 'Input "image_bytes" must have shape [batch]. Received: [1, 8, 6, 3].'),
        ("image_bytes", np.array([b"nothing"], object), "Image 0 must be a JPEG or PNG file. Received: 7 other bytes."),
        ("image_bytes", np.array([3], object), "The file of item 0 must be base64 text."),
    ],
)
def test_v2_says_what_is_wrong(name, array, message):
    with pytest.raises(BadRequest, match=re.escape(message)):
        images_of_v2(name, np.asarray(array), DECODING, LIMITS)


def test_one_truth_value_among_numbers_is_told():
    image = pixels(1).astype(int).tolist()
    image[0][0][0][1] = True
    with pytest.raises(BadRequest, match=re.escape("Pixels must be integers in [0, 255]. Received: bool values.")):
        images_of_v1({"instances": image}, DECODING, LIMITS)


@pytest.mark.parametrize("name", ["body_bytes", "batch", "pixels"])
def test_limit_below_one_is_told(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: {name}=0."):
        Limits(**{name: 0})
