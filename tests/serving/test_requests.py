import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from kzoo.data import Decoding, decode_image
from kzoo.serving import BadRequest, Limits
from kzoo.serving.requests import asked_by_v1, asked_by_v2, pixels_of

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


def images_of_v1(payload, decoding, limits):
    return pixels_of(asked_by_v1(payload, decoding, limits), decoding, limits)


def images_of_v2(name, array, decoding, limits, datatype="UINT8"):
    return pixels_of(asked_by_v2(name, datatype, array, decoding, limits), decoding, limits)


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
        ([], 'The body must be a JSON object with a list of "instances", or with "inputs".'),
        (b"bytes", 'The body must be a JSON object with a list of "instances", or with "inputs".'),
        ({"inputs": 3}, 'The body must be a JSON object with a list of "instances", or with "inputs".'),
        ({"inputs": ONE, "instances": ONE}, 'The body must be a JSON object with a list of "instances", or with "inp'),
        ({"instances": {}}, 'The body must be a JSON object with a list of "instances", or with "inputs".'),
        ({"instances": []}, "A request must hold 1 to 3 images. Received: 0."),
        ({"instances": ONE * 4}, "A request must hold 1 to 3 images. Received: 4."),
        (
            {"instances": ONE, "signature_name": "train"},
            "encoded_images. Received: 'train'.",
        ),
        ({"instances": ONE, "signature_name": [1]}, "Received: [1]."),
        ({"instances": ONE, "signature_name": "encoded_images"}, 'Expected instances with "image_bytes" only.'),
        ({"instances": [*ONE, {"b64": ""}]}, 'Expected instances with "image" only.'),
        ({"instances": [ONE]}, "Every image must be 8x6x3 (height x width x channels). Received: lists of lengths"),
        ({"instances": [1]}, "Every image must be 8x6x3 (height x width x channels). Received: no lists."),
        ({"instances": [10**30]}, "Every image must be 8x6x3 (height x width x channels). Received: no lists."),
        ({"instances": [[1, [2]], [3]]}, "Received: lists of lengths [2], or lists of different lengths."),
        ({"instances": [[[[0] * 3] * 6] * 7 + [[0]]]}, "Received: lists of lengths [8, 6, 3], or lists of different l"),
        ({"instances": [[[[[0]] * 3] * 6] * 8]}, "Received: lists of lengths [8, 6, 3, 1], or lists of different"),
        ({"instances": [[[[2**70] * 3] * 6] * 8]}, "Received: a number of more than 64 bits."),
        ({"instances": [[[[None] * 3] * 6] * 8]}, "Received: something that is no number."),
        ({"instances": (pixels(1) + 0.5).tolist()}, "Pixels must be integers in [0, 255]. Received: float64 values."),
        ({"instances": (pixels(1) > 9).tolist()}, "Pixels must be integers in [0, 255]. Received: bool values."),
        ({"instances": (pixels(1) * 1.0 * np.nan).tolist()}, "Pixels must be integers in [0, 255]. Received: float64"),
        ({"instances": (pixels(1).astype(int) - 1000).tolist()}, "Pixels must be integers in [0, 255]. Received: -"),
        ({"instances": (pixels(1).astype(int) + 256).tolist()}, "Pixels must be integers in [0, 255]. Received: 2"),
        ({"instances": pixels(1).astype(str).tolist()}, "Received: something that is no number."),
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


@pytest.mark.parametrize("form", [lambda image: image, lambda image: {"image": image}])
def test_v1_reads_floats_where_they_are_asked_for(form):
    images = pixels(2) / 2
    payload = {"instances": [form(image) for image in images.tolist()], "signature_name": "float_images"}
    read = images_of_v1(payload, DECODING, LIMITS)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, images)


@pytest.mark.parametrize("value", [-0.5, 255.5, np.nan, np.inf])
def test_floats_out_of_range_are_told(value):
    images = np.where(np.arange(3) == 1, value, pixels(1) / 2)
    with pytest.raises(BadRequest, match=re.escape("Pixels must be numbers in [0, 255]. Received: ")):
        images_of_v2("image", images, DECODING, LIMITS, "FP32")


def test_pixels_of_all_images_are_counted_before_the_first_is_decoded(monkeypatch):
    limits = Limits(pixels=1000, request_pixels=500)
    monkeypatch.setattr(Decoding, "decode", None)
    with pytest.raises(BadRequest, match="must have at most 500 pixels together. Received: 600 up to image 2."):
        images_of_v1({"instances": [{"b64": b64(file_of())}] * 4}, DECODING, limits)


COUNTS = ["body_bytes", "batch", "pixels", "request_pixels", "queue", "connections", "together"]


@pytest.mark.parametrize("name", COUNTS)
def test_limit_below_one_is_told(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: {name}=0."):
        Limits(**{name: 0})


@pytest.mark.parametrize("name", ["deadline_seconds", "header_seconds", "body_seconds", "wait_milliseconds"])
def test_time_that_is_none_is_told(name):
    for value in (-1, *([0] if name != "wait_milliseconds" else [])):
        with pytest.raises(ValueError, match=f"`{name}` must be above 0. Received: {name}={value}."):
            Limits(**{name: value})
    for value in (np.nan, "1", None, True):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number. Received: {name}="):
            Limits(**{name: value})
