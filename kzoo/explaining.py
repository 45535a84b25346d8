"""What a trained network looks at, and what each of its blocks adds."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from kzoo import ops
from kzoo.acceleration.names import inbound_nodes, maker
from kzoo.arguments import image_array, instance, integer, path
from kzoo.durable import output_path, written_file
from kzoo.layers import Add
from kzoo.recursion import deep_recursion

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` found of one image.

    Attributes:
        logits: Array of shape `(classes,)`, what the network answers.
        target: Integer, the class that is explained.
        heat: Array of shape `(rows, columns)` in [0, 1], of the size of the last feature map: where the network looks
            for that class. All zeros where nothing there speaks for it.
        layer: Name of the layer whose feature map that is.
        changes: Name of each residual block to the norm of the change that it makes to its input, relative to the norm
            of that input. NaN where the input is all zeros.
    """

    logits: Array
    target: int
    heat: Array
    layer: str
    changes: dict[str, float]


@deep_recursion()
def explain(model: keras.Model, image: Any, target: int | None = None) -> Explanation:
    """Explains what a network sees in an image: Grad-CAM on its last feature map, and what each block adds.

    Grad-CAM weighs each channel of the last feature map by the mean gradient of the class's logit by it, adds up the
    channels, and keeps what is positive. A block's change is `|y - s(x)| / |s(x)|` by Euclidean norms, with `x` what
    goes in, `s` its shortcut and `y` what comes out.

    Args:
        model: A functional `keras.Model` from images in [0, 255] to logits or probabilities.
        image: Numbers of shape `(height, width, channels)` in [0, 255].
        target: Integer, the class to explain. Defaults to `None`, the one that the network finds likeliest.

    Returns:
        An `Explanation`.

    Raises:
        ValueError: If the model is not functional or has no feature map, or image or class are not of the model.

    References:
        - [Selvaraju et al., 2017](https://arxiv.org/abs/1610.02391), section 3 (Grad-CAM)
        - [Greff et al., 2017](https://arxiv.org/abs/1612.07771) (blocks that refine what they get)
    """
    instance(model, "model", keras.Model, "a keras.Model, such as `kzoo.create_model` returns")
    images = image_array(np.asarray(image)[None], model.input_shape[1:]).astype(np.float32)
    feature_map = _last_feature_map(model)
    blocks = _blocks(model)
    wanted = [feature_map, *(tensor for pair in blocks.values() for tensor in pair), model.output]
    outputs = [_array(one) for one in keras.Model(model.input, wanted).predict_on_batch(images)]
    features, logits = outputs[0], outputs[-1][0]
    classes = len(logits)
    if target is not None and integer(target, "target", least=0) >= classes:
        raise ValueError(f"`target` must be below {classes}, the classes of the model. Received: target={target}.")
    chosen = int(np.argmax(logits)) if target is None else integer(target, "target", least=0)
    heat = _grad_cam(keras.Model(feature_map, model.output), features, chosen)
    pairs = zip(outputs[1:-1:2], outputs[2:-1:2], strict=True)
    changes = {name: _relative(shortcut, out) for name, (shortcut, out) in zip(blocks, pairs, strict=True)}
    return Explanation(logits, chosen, heat, maker(feature_map).name, changes)


def _last_feature_map(model: keras.Model) -> Any:
    """Returns what the last stage gives: the sum of the last block, or the last feature map of a network without."""
    layers = getattr(model, "layers", [])
    maps = [layer for layer in layers if len(getattr(_output(layer), "shape", ())) == 4 and layer.weights]
    if not maps or not hasattr(model, "operations"):
        raise ValueError(f"`model` must be functional, with a feature map. Received: {model.name!r}, without.")
    after = layers[layers.index(maps[-1]) :]
    return [_output(layer) for layer in after if len(getattr(_output(layer), "shape", ())) == 4][-1]


def _output(layer: Any) -> Any:
    return layer.output if len(inbound_nodes(layer)) == 1 else None


def _blocks(model: keras.Model) -> dict[str, tuple[Any, Any]]:
    """Returns the shortcut and the output of each residual block, by its name."""
    known = {layer.name: layer for layer in model.layers}
    found = {}
    for layer in model.layers:
        if isinstance(layer, Add) and isinstance(layer.input, list) and len(layer.input) == 2:
            name = layer.name.removesuffix("_add")
            last = known.get(f"{name}_relu2")  # of the classic form the sum goes through it
            end = last if last is not None and maker(last.input) is layer else layer
            found[name] = (layer.input[0], end.output)
    return found


def _grad_cam(head: keras.Model, features: Array, target: int) -> Array:
    variable = keras.Variable(features, dtype="float32", name="features")

    def logit() -> tuple[Any, tuple[()]]:
        return head(keras.ops.convert_to_tensor(variable), training=False)[0, target], ()

    (gradient,), _ = ops.gradients(logit, [variable])
    weights = _array(gradient).mean(axis=(1, 2))
    heat = np.maximum((features[0] * weights[0]).sum(axis=-1), 0)
    return (heat / (heat.max() or 1.0)).astype(np.float32)


def _relative(before: Array, after: Array) -> float:
    size = float(np.linalg.norm(before.astype(np.float64)))
    return float(np.linalg.norm(after.astype(np.float64) - before)) / size if size else float("nan")


def _array(tensor: Any) -> Array:
    return np.array(keras.ops.convert_to_numpy(tensor), np.float32)


def explain_file(
    run: Any, file: str | os.PathLike[str], target: int | None = None, *, picture: str | os.PathLike[str] | None = None
) -> Explanation:
    """Explains what the network of a run sees in an image file, decoded and resized as in its training.

    Args:
        run: A `kzoo.Run`, or a `kzoo.Preset`.
        file: Path of the image file.
        target: As for `explain`.
        picture: Path of a picture to draw, as `draw_explanation` does. Defaults to `None`, for none.

    Returns:
        An `Explanation`.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a readable image, or as for `explain`.
    """
    model = run.load_model()
    pixels = run.decoding(model).decode(path(file, "file").read_bytes(), os.fspath(file))
    found = explain(model, pixels, target)
    if picture is not None:
        draw_explanation(found, pixels, picture, run.class_names)
    return found


def draw_explanation(
    found: Explanation, image: Any, file: str | os.PathLike[str], class_names: "Sequence[str] | None" = None
) -> Path:
    """Draws an image, where the network looks in it, and what each block adds, side by side, as a PNG.

    Args:
        found: The `Explanation`.
        image: What was explained, of shape `(height, width, channels)` in [0, 255].
        file: Path of the picture to write.
        class_names: One name a class. Defaults to the numbers.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    written = output_path(path(file, "file"))
    pixels = np.clip(np.asarray(image, np.float32) / 255, 0, 1)
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    name = str(found.target) if class_names is None else class_names[found.target]
    bars = max(1, len(found.changes))
    figure = Figure(figsize=(10.5, max(3.6, 1.4 + 0.2 * bars)), layout="constrained")
    plain, seen, added = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
    plain.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    plain.set_title("image")
    height, width = pixels.shape[:2]
    seen.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    heat = seen.imshow(found.heat, cmap="cividis", vmin=0, vmax=1, alpha=0.65, extent=extent, interpolation="bilinear")
    seen.set_title(f"looked at for {name}", parse_math=False)
    figure.colorbar(heat, ax=seen, shrink=0.75, label="share of the largest")
    for axis in (plain, seen):
        axis.set_xticks([])
        axis.set_yticks([])
    names = list(found.changes)
    added.barh(range(len(names)), [found.changes[one] for one in names], color="#0072B2")
    added.set_yticks(range(len(names)), names, fontsize=7 if len(names) > 12 else 9)
    added.invert_yaxis()
    added.set_xlabel("change / input (norms)")
    added.set_title("what each block changes" if names else "no residual blocks")
    added.grid(axis="x", alpha=0.3)
    with written_file(written) as aside:
        figure.savefig(aside, dpi=120, format="png")
    return written
