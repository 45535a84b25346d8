"""Writes a SavedModel of plain TensorFlow operations. Runs in the process that has TensorFlow."""

from pathlib import Path
from typing import Any

import keras

from kzoo.data.images import Decoding
from kzoo.evaluation import as_logits
from kzoo.export.decoding import decoded
from kzoo.export.signatures import CARD, CLASSES, INPUTS
from kzoo.export.warmup import prediction_log, write_warmup


def write_saved_model(
    model: keras.Model,
    directory: Path,
    *,
    from_logits: bool,
    name: str,
    assets: Path,
    example: bytes,
    decoding: Decoding,
) -> None:
    """Writes a model with its three signatures, class names, card and warm-up requests.

    Args:
        model: A classifier on the TensorFlow backend, from `(batch, height, width, channels)` to `(batch, classes)`.
        directory: Path of the folder to make.
        from_logits: Boolean, whether the model gives logits; if not, it gives probabilities.
        name: String, what a server will call the model.
        assets: Folder that holds the class names and the card.
        example: Bytes of an image file for the warm-up requests.
        decoding: How image files become pixels, to the size of the model's input.
    """
    import tensorflow as tf

    module = served(model, from_logits, decoding)
    module.assets = [tf.saved_model.Asset(str(assets / file)) for file in (CARD, CLASSES)]
    tf.saved_model.save(module, str(directory), {signature: getattr(module, signature) for signature in INPUTS})
    pixels = decoded(tf.constant([example]), decoding)
    inputs = {"serving_default": pixels, "float_images": tf.cast(pixels, tf.float32), "encoded_images": [example]}
    logs = [
        prediction_log(name, signature, INPUTS[signature], tf.make_tensor_proto(value).SerializeToString())
        for signature, value in inputs.items()
    ]
    write_warmup(directory, logs)


def served(model: keras.Model, from_logits: bool, decoding: Decoding) -> Any:
    """Returns a `tf.Module` with a `tf.function` for each signature.

    Args:
        model: As for `write_saved_model`.
        from_logits: As for `write_saved_model`.
        decoding: As for `write_saved_model`.
    """
    import tensorflow as tf

    shape = tuple(model.input_shape)

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
            return self.serving_default(decoded(image_bytes, decoding))

    return Served()
