"""How a model of kzoo was built: the function and everything it was given."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

from kzoo.arguments import LARGEST_IMAGE
from kzoo.choices import Order, Shortcut

CONSTRUCTORS = {"resnet": ("depth",), "wide_resnet": ("depth", "width")}
_MOST_SIZES = {"depth": 10_000, "width": 1_000}
_MOST_CLASSES = 1_000_000
_MOST_NUMBERS = 1 << 28  # of a feature map, for one image
_ACTIVATIONS = (None, "linear", "log_softmax", "sigmoid", "softmax")
_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3 or not _is_whole(value[2], 1, 4096):
        return False
    height, width = (8 if size is None else size for size in value[:2])
    sizes_are_whole = _is_whole(height, 8, LARGEST_IMAGE) and _is_whole(width, 8, LARGEST_IMAGE)
    return sizes_are_whole and height * width <= LARGEST_IMAGE


# What a constructor is given -> what that may be, in words, and whether a value is that. Nothing else is passed on to a
# constructor, so nothing that a file says reaches Keras but these numbers and words.
_ARGUMENTS: dict[str, tuple[str, Any]] = {
    "include_top": ("true or false", lambda value: isinstance(value, bool)),
    "input_shape": ("a height, a width and channels", _is_shape),
    "pooling": ("null, 'avg' or 'max'", lambda value: value in (None, "avg", "max")),
    "classes": (f"a whole number up to {_MOST_CLASSES:,}", lambda value: _is_whole(value, 1, _MOST_CLASSES)),
    "classifier_activation": (
        f"null, {', '.join(map(repr, _ACTIVATIONS[1:]))}",
        lambda value: isinstance(value, str | None) and value in _ACTIVATIONS,
    ),
    "include_preprocessing": ("true or false", lambda value: isinstance(value, bool)),
    "order": (", ".join(get_args(Order)), lambda value: isinstance(value, str) and value in get_args(Order)),
    "shortcut": (", ".join(get_args(Shortcut)), lambda value: isinstance(value, str) and value in get_args(Shortcut)),
    "normalization": ("null or 'batch'", lambda value: value in (None, "batch")),
    "dropout": (
        "a number of at least 0, below 1",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1,
    ),
    "seed": ("a whole number of 64 bits", lambda value: _is_whole(value, 0, 2**64 - 1)),
    "name": (
        "up to 100 letters, digits, '_', '-' and '.'",
        lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value)),
    ),
}


@dataclasses.dataclass(frozen=True)
class Construction:
    """How a model was built.

    Attributes:
        constructor: `"resnet"` or `"wide_resnet"`.
        sizes: The depth; of a wide network the width, too.
        arguments: All its other arguments, those that were left to their defaults, too, but for `weights`.
    """

    constructor: str
    sizes: tuple[int, ...]
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, constructor: str, *sizes: int, **given: Any) -> "Construction":
        """Returns the construction with the constructor's defaults for what is not given."""
        arguments = {
            "include_top": True,
            "input_shape": (32, 32, 3),
            "pooling": None,
            "classes": 10,
            "classifier_activation": None,
            "include_preprocessing": True,
            "order": "preact" if constructor == "wide_resnet" else "classic",
            "normalization": "batch",
            "dropout": 0.0,
            "seed": 0,
            **given,
        }
        if arguments.get("shortcut") is None:
            arguments["shortcut"] = "projection" if arguments["order"] == "preact" else "pad"
        found = cls(constructor, sizes, arguments)
        arguments.setdefault("name", found.model)
        return found

    @classmethod
    def from_json(cls, content: Any) -> "Construction":
        """Returns a construction from what `to_json` gave, which a stranger may have changed.

        Raises:
            ValueError: If it is anything but a constructor of kzoo with sizes and arguments that it takes. The message
                begins with the place.
        """
        require(isinstance(content, dict), "model", "an object", content)
        constructor = content.get("constructor")
        known = isinstance(constructor, str) and constructor in CONSTRUCTORS
        require(known, "model.constructor", f"one of {', '.join(CONSTRUCTORS)}", constructor)
        sizes = CONSTRUCTORS[constructor]
        check_keys(content, {"constructor", *sizes, "arguments"}, "model.")
        for name in sizes:
            most = _MOST_SIZES[name]
            require(_is_whole(content[name], 1, most), f"model.{name}", f"a whole number up to {most:,}", content[name])
        arguments = content["arguments"]
        require(isinstance(arguments, dict), "model.arguments", "an object", arguments)
        check_keys(arguments, _ARGUMENTS.keys(), "model.arguments.")
        for name, (expected, is_valid) in _ARGUMENTS.items():
            require(is_valid(arguments[name]), f"model.arguments.{name}", expected, arguments[name])
        shape = tuple(arguments["input_shape"])
        found = cls(constructor, tuple(content[name] for name in sizes), {**arguments, "input_shape": shape})
        height, width = (8 if size is None else size for size in shape[:2])
        numbers = height * width * 16 * max(found.sizes[1:], default=1)
        expected = f"of images whose feature maps have at most {_MOST_NUMBERS:,} numbers"
        require(numbers <= _MOST_NUMBERS, "model.arguments.input_shape", expected, list(shape))
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` takes."""
        sizes = dict(zip(CONSTRUCTORS[self.constructor], self.sizes, strict=True))
        arguments = {**self.arguments, "input_shape": list(self.arguments["input_shape"])}
        return {"constructor": self.constructor, **sizes, "arguments": arguments}

    @property
    def classes(self) -> int | None:
        """Number of outputs, or `None` without the top."""
        return self.arguments["classes"] if self.arguments["include_top"] else None

    @property
    def form(self) -> dict[str, Any]:
        """What decides which weights fit, beside the input's channels and the number of classes."""
        sizes = dict(zip(CONSTRUCTORS[self.constructor], self.sizes, strict=True))
        return {**sizes, **{name: self.arguments[name] for name in ("order", "shortcut", "normalization")}}

    @property
    def model(self) -> str:
        """The name that the zoo has for it, or would have: `resnet20`, `resnet20_v2`, `plain20`, `wide_resnet16_4`."""
        sizes = "_".join(map(str, self.sizes))
        if self.constructor == "wide_resnet":
            return f"wide_resnet{sizes}"
        order, shortcut = self.arguments["order"], self.arguments["shortcut"]
        if order == "classic":
            return f"plain{sizes}" if shortcut == "none" else f"resnet{sizes}"
        return f"resnet{sizes}_v2" if order == "preact" else f"resnet{sizes}_{order}"

    def check(self, given: "Construction", name: str) -> None:
        """Raises a `ValueError` unless weights of this construction, called `name`, fit a model of the given one."""
        expected, received = (
            {"constructor": self.constructor, **self.form},
            {"constructor": given.constructor, **given.form},
        )
        for key, value in expected.items():
            if received.get(key) != value:
                raise ValueError(
                    f"`weights` {name!r} are for {self.model}, with {key}={value!r}. "
                    f"Received: {key}={received.get(key)!r}."
                )
        if given.classes not in (None, self.classes):
            raise ValueError(
                f"`classes` must be {self.classes}, as of the weights {name!r}; or `include_top=False`. "
                f"Received: classes={given.classes}."
            )


def stored_construction(model: Any) -> dict[str, Any] | None:
    """Returns how a model was built, for JSON; `None` if it does not know, or no file can say it: of a function."""
    found = getattr(model, "construction", None)
    try:
        return None if found is None else Construction.from_json(found.to_json()).to_json()
    except ValueError:
        return None


def require(valid: bool, place: str, expected: str, received: Any) -> None:
    """Raises a `ValueError` that says what must be at a place of a JSON, and what is, unless that is valid."""
    if not valid:
        raise ValueError(f"{place!r} must be {expected}. Received: {_shown(received)}.")


def check_keys(content: Mapping[str, Any], expected: Collection[str], place: str = "") -> None:
    """Raises a `ValueError` unless an object of a JSON has exactly the expected names."""
    for name in sorted(expected):
        if name not in content:
            raise ValueError(f"'{place}{name}' must be there. Received: none.")
    for name in content:
        if name not in expected:
            raise ValueError(
                f"{place + ascii(name)[1:-1][:100]!r} must not be there. Received: {_shown(content[name])}."
            )


def _shown(value: Any) -> str:
    if isinstance(value, dict | list) and len(value) > 10:
        return f"{type(value).__name__} of {len(value):,}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length():,} bits"
    try:
        text = ascii(value)
    except ValueError:  # of whole numbers of thousands of digits within it
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."
