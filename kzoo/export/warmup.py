"""The file of requests with which TensorFlow Serving warms a model up before it counts as ready.

It is a TFRecord file of `tensorflow.serving.PredictionLog` messages. The package that defines them comes with all of
TensorFlow Serving's client, and the three messages around a tensor are few bytes:

    PredictionLog { PredictLog predict_log = 6 }
    PredictLog { PredictRequest request = 1 }
    PredictRequest { ModelSpec model_spec = 1; map<string, TensorProto> inputs = 2 }
    ModelSpec { string name = 1; string signature_name = 3 }

Reference:
    - [SavedModel warmup](https://www.tensorflow.org/tfx/serving/saved_model_warmup)
"""

from pathlib import Path

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def prediction_log(model: str, signature: str, name: str, tensor: bytes) -> bytes:
    """Encodes the request that asks `signature` about one input.

    Args:
        model: String, name of the model.
        signature: String, name of the signature.
        name: String, name of its input.
        tensor: Bytes of a `TensorProto`.

    Returns:
        Bytes of a `PredictionLog`.
    """
    spec = _field(1, model.encode()) + _field(3, signature.encode())
    entry = _field(1, name.encode()) + _field(2, tensor)
    request = _field(1, spec) + _field(2, entry)
    return _field(6, _field(1, request))


def write_warmup(directory: Path, logs: list[bytes]) -> None:
    """Writes the file into a SavedModel's folder. Needs TensorFlow."""
    import tensorflow as tf

    path = directory / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log)


def _field(number: int, content: bytes) -> bytes:
    """Encodes a length-delimited field, the only kind needed here."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
