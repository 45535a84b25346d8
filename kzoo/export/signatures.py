"""What an export looks like from outside: formats, files and names of signatures, inputs and outputs."""

from typing import get_args

from kzoo.choices import Format, Quantization

FORMATS: tuple[str, ...] = get_args(Format)
FILES = {"saved_model": "saved_model.pb", "onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}

PRECISIONS = ("float32", *get_args(Quantization))

# Signature -> its input. Every signature gives the same three outputs.
INPUTS = {"serving_default": "image", "float_images": "image", "encoded_images": "image_bytes"}
OUTPUTS = ("logits", "probabilities", "class_index")

CARD = "card.json"
CLASSES = "classes.txt"
VERIFICATION = "verification.json"
EXAMPLES = "examples.json"
