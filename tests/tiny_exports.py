"""Exports as `kzoo export` lays them out, of a network of few operations: made at once, without TensorFlow."""

import base64
import io
import json

import numpy as np
from PIL import Image

SIZE = (4, 5)
CLASSES = ("red", "green", "blue")


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def images_of(count, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, *SIZE, 3), np.uint8)


def logits_of(images, scale=1.0):
    """What the network answers: the mean of each channel, times a number by which versions are told apart."""
    return scale * images.astype(np.float32).mean(axis=(1, 2)) / 16


def write_export(folder, name="tiny", version=1, *, scale=1.0, examples=True, wrong=0.0, delay=0, **card):
    """Writes `folder/name/version`, aside and renamed as kzoo does, and returns its path.

    `wrong` is added to what the examples should come to; `delay` products of large matrices make it slow;
    what else is given is in the card.
    """
    import openvino
    from openvino import opset13 as ops

    image = ops.parameter([-1, *SIZE, 3], np.uint8, name="image")
    image.output(0).set_names({"image"})
    mean = ops.reduce_mean(ops.convert(image, np.float32), np.array([1, 2]))
    logits = ops.multiply(mean, np.float32(scale / 16))
    if delay:
        large = np.random.RandomState(0).rand(1024, 1024).astype(np.float32) / 512
        slow = ops.multiply(ops.reduce_sum(mean, np.array([0, 1]), keep_dims=True), np.zeros((1024, 1024), np.float32))
        for _ in range(delay):
            slow = ops.matmul(ops.add(slow, large), large, False, False)
        logits = ops.add(logits, ops.multiply(ops.reduce_sum(slow, np.array([0, 1])), np.float32(0)))
    best = ops.topk(logits, np.int64(1), 1, "max", "value", index_element_type="i64").output(1)
    outputs = {
        "logits": logits.output(0),
        "probabilities": ops.softmax(logits, 1).output(0),
        "class_index": ops.squeeze(best, np.array([1])).output(0),
    }
    for key, output in outputs.items():
        output.set_names({key})
    model = openvino.Model(list(outputs.values()), [image], name)
    aside = folder / name / f".{version}"
    aside.mkdir(parents=True)
    openvino.save_model(model, aside / "model.xml", compress_to_fp16=False)
    card |= {"name": name, "version": version, "image_size": list(SIZE), "decoding": {"image_size": list(SIZE)}}
    (aside / "card.json").write_text(json.dumps({**card, "model": "means", "metrics": {"test_accuracy": 0.5}}))
    (aside / "classes.txt").write_text("".join(f"{one}\n" for one in CLASSES))
    if examples:
        shown = images_of(2, seed=9)
        answers = logits_of(shown, scale) + wrong
        (aside / "examples.json").write_text(
            json.dumps(
                [
                    {"png": base64.b64encode(png(one)).decode(), "label": 1, "logits": {"openvino": row.tolist()}}
                    for one, row in zip(shown, answers, strict=True)
                ]
            )
        )
    return aside.rename(folder / name / str(version))
