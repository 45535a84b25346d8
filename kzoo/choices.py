"""Arguments that take one of a few names: the names, and what is said to any other.

Nothing is imported here, so that the command line can list them without Keras.
"""

import difflib
from collections.abc import Iterable
from typing import Literal

Normalization = Literal["batch"] | None
Order = Literal["classic", "preact", "additive"]
Shortcut = Literal["pad", "projection", "none"]
PadMode = Literal["constant", "reflect"]
FlipMode = Literal["random", "alternate"]
EraseFill = Literal["noise", "grey"]
ResizeMode = Literal["stretch", "crop", "pad"]
Precision = Literal["float32", "mixed_bfloat16", "float64"]
TestTimeAugmentation = Literal["mirror"]
SplitName = Literal["train", "validation", "test"]
Format = Literal["saved_model", "onnx", "litert", "openvino"]
LayoutName = Literal["akamaster", "chenyaofo", "pytorchcv"]
LogFormat = Literal["text", "json"]
Quantization = Literal["int8", "float16"]
Runtime = Literal["openvino", "onnxruntime", "litert", "tensorflow"]
Dtype = Literal["float64", "float32"]
Optimizer = Literal[
    "sgd",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "ftrl",
    "lamb",
    "lion",
    "muon",
    "nadam",
    "rmsprop",
    "schedulefreeadamw",
]
Device = Literal["cpu", "gpu"]
STUDIES = ("capacity", "early_stopping", "dropout", "batch_norm", "residual")

_LEAST_SIMILAR = 0.6  # of difflib's ratio, as `difflib.get_close_matches` has it


def check_choice(argument: str, value: object, choices: Iterable[str]) -> None:
    """Raises a `ValueError` that names the choices, and the nearest, unless the value is one of them."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(choices)}. Received: {argument}={value!r}.{hint(value, choices)}"
        )


def hint(given: object, known: Iterable[str]) -> str:
    """Returns the end of a message about an unknown name: `" Did you mean 'resnet20'?"`, or nothing."""
    near = nearest(given, known)
    return "" if near is None else f" Did you mean {near!r}?"


def nearest(given: object, known: Iterable[str]) -> str | None:
    """Returns the known name that the fewest changes of a letter lead to, of several the first; `None` if none is near.

    Case does not count.
    """
    text = str(given).casefold()
    similar = [name for name in known if _similarity(text, name.casefold()) >= _LEAST_SIMILAR]
    return min(similar, key=lambda name: _changes(text, name.casefold()), default=None)


def _similarity(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def _changes(a: str, b: str) -> int:
    """Returns how many letters must be inserted, removed or replaced to make one text the other."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        above, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (letter != other))
    return row[-1]
