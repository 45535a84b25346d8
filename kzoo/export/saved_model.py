"""Writes a SavedModel of plain TensorFlow operations. Runs in the process that has TensorFlow."""

from pathlib import Path
from typing import Any

import keras

from kzoo.evaluation import as_logits
from kzoo.export.signatures import CARD, CLASSES, INPUTS
from kzoo.export.warmup import prediction_log, write_warmup


def write_saved_model(
    model: keras.Model, directory: Path, *, from_logits: bool, name: str, assets: Path, example: bytes
) -> None:
    """Writes a model with its three signatures, class names, card and warm-up requests.

    Args:
        model: A classifier on the TensorFlow backend, from `(batch, height, width, 3)` to `(batch, classes)`.
        directory: Path of the folder to make.
        from_logits: Boolean, whether the model gives logits; if not, it gives probabilities.
        name: String, what a server will call the model.
        assets: Folder that holds the class names and the card.
        example: Bytes of an image file for the warm-up requests.
    """
    import tensorflow as tf

    module = served(model, from_logits)
    module.assets = [tf.saved_model.Asset(str(assets / file)) for file in (CARD, CLASSES)]
    tf.saved_model.save(module, str(directory), {signature: getattr(module, signature) for signature in INPUTS})
    pixels = decoded(tf.constant([example]), model.input_shape[1:3])
    inputs = {"serving_default": pixels, "float_images": tf.cast(pixels, tf.float32), "encoded_images": [example]}
    logs = [
        prediction_log(name, signature, INPUTS[signature], tf.make_tensor_proto(value).SerializeToString())
        for signature, value in inputs.items()
    ]
    write_warmup(directory, logs)


def served(model: keras.Model, from_logits: bool) -> Any:
    """Returns a `tf.Module` with a `tf.function` for each signature.

    Args:
        model: As for `write_saved_model`.
        from_logits: As for `write_saved_model`.
    """
    import tensorflow as tf

    size = tuple(model.input_shape[1:3])
    shape = (None, *size, 3)

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in model.variables]

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="image")])
        def serving_default(self, image: Any) -> dict[str, Any]:
            return self.float_images(tf.cast(image, tf.float32))

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
        def float_images(self, image: Any) -> dict[str, Any]:
            outputs = tf.cast(model(image, training=False), tf.float32)
            probabilities = tf.nn.softmax(outputs) if from_logits else outputs
            return {
                "logits": tf.identity(as_logits(outputs, from_logits, keras.ops), "logits"),
                "probabilities": tf.identity(probabilities, "probabilities"),
                "class_index": tf.argmax(outputs, axis=-1, name="class_index"),
            }

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
        def encoded_images(self, image_bytes: Any) -> dict[str, Any]:
            return self.serving_default(decoded(image_bytes, size))

    return Served()


def decoded(image_bytes: Any, size: tuple[int, int]) -> Any:
    """Decodes JPEG and PNG files to Pillow's pixels, resized.

    Pillow decodes JPEG with libjpeg's accurate integer transform and resizes in two passes, each rounded to 8 bits. So
    does this, horizontally first as Pillow up to 12 always and Pillow 13 mostly does. What is left to differ: Pillow 13
    begins with the height where that shrinks much more than the width, EXIF orientations are not applied, and CMYK
    is converted otherwise.

    Args:
        image_bytes: String tensor of shape `(batch,)`.
        size: `(height, width)` in pixels.

    Returns:
        uint8 tensor of shape `(batch, height, width, 3)`.
    """
    import tensorflow as tf

    height, width = size

    def resize(image: Any, size: Any) -> Any:
        # As in Pillow, the kernel widens when it shrinks an image, and counts only what lies inside.
        resized = tf.image.resize(image, size, tf.image.ResizeMethod.BICUBIC, antialias=True)
        return tf.clip_by_value(tf.floor(resized + 0.5), 0, 255)

    def decode(data: Any) -> Any:
        image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")  # decodes PNG, too
        narrow = resize(image, (tf.shape(image)[0], width))
        return tf.ensure_shape(tf.cast(resize(narrow, (height, width)), tf.uint8), (height, width, 3))

    return tf.map_fn(decode, image_bytes, fn_output_signature=tf.uint8)
