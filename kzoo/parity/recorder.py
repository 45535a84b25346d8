"""Records what the backend that runs computes in the first steps of a training."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import keras
import numpy as np

from kzoo import environment, ops
from kzoo.choices import Device, Dtype, check_choice
from kzoo.data import Batches, Dataset
from kzoo.data.batches import Batch
from kzoo.layers import Dropout
from kzoo.models import create_model
from kzoo.parity.recording import Array, Recording, digest
from kzoo.parity.stopping import scripted_stopping
from kzoo.parity.tolerances import TOLERANCES
from kzoo.recursion import deep_recursion
from kzoo.streams import check_seed
from kzoo.training import Recipe, set_pixel_statistics
from kzoo.training.loop import compile_model, training_batches

DRIFT_RATES = (0.01, 0.1)
_PREDICTED_IMAGES = 128


def parity_recipe(dtype: Dtype = "float64", learning_rate: float = 0.01) -> Recipe:
    """Returns the recipe of the recordings: everything that a training does, at a rate that can be compared.

    At a rate of 0.1 a training is chaotic: it multiplies a difference in the last bit to a quarter of the weights'
    size within 50 steps.

    Args:
        dtype: `"float32"` or `"float64"`. Defaults to `"float64"`.
        learning_rate: Float, the peak. Defaults to `0.01`.
    """
    return Recipe(
        epochs=1,  # of as many steps as are recorded
        batch_size=32,
        drop_remainder=False,
        learning_rate=learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        schedule="linear",
        warmup=0.2,
        label_smoothing=0.0,
        patience=None,
        precision=dtype,
    )


def record(
    model: str | Callable[..., keras.Model],
    dataset: Dataset,
    *,
    steps: int = 50,
    dtype: Dtype = "float64",
    device: Device | None = None,
    dropout: float = 0.1,
    seed: int = 0,
    drift: bool = False,
) -> Recording:
    """Records the first steps of a training, from initial weights to predictions.

    Sets the precision of the process and makes it deterministic, for good: better run in one of its own, as
    `kzoo parity record` does.

    Args:
        model: Name of a model, or a function that takes the arguments of `kzoo.resnet20` and returns one.
        dataset: The `Dataset` to train on.
        steps: Integer, optimizer steps, 1 or more. Defaults to `50`.
        dtype: `"float32"` or `"float64"`. Defaults to `"float64"`.
        device: `"cpu"` or `"gpu"`. Defaults to a GPU if the backend sees one.
        dropout: Float in [0, 1), the fraction dropped inside each block. Defaults to `0.1`.
        seed: Integer, 0 or larger, of weights, batches and masks. Defaults to `0`.
        drift: Boolean, whether to train three times more, so that the losses of float32 and float64 at rates of 0.01
            and 0.1 can be compared. Defaults to `False`.

    Returns:
        A `Recording`.

    Raises:
        ValueError: If an argument is not one of those above, or a GPU is asked for that the backend does not see.
    """
    if steps < 1:
        raise ValueError(f"`steps` must be 1 or larger. Received: steps={steps}.")
    check_choice("dtype", dtype, get_args(Dtype))
    check_seed(seed)
    ops.deterministic()
    device = _checked_device(device)
    training = _Training(model, dataset, steps, dropout, seed)
    with keras.device(f"{device}:0"):
        network = training.build(parity_recipe(dtype))
        if (actual := environment.device_of(network.weights[0])) != device:
            raise ValueError(
                f"`device` must be where the backend computes. Received: {device!r}, and it is {actual!r}."
            )
        arrays = dict(_quantities(network, training, parity_recipe(dtype)))
        if drift:
            arrays |= dict(_drift(training))
    settings = {
        "model": network.name,
        "data": {**dataset.summary(), "images": len(dataset.train)},
        "steps": steps,
        "dropout": dropout,
        "seed": seed,
        "drift": drift,
        "recipe": parity_recipe(dtype).record(),
    }
    backend = keras.backend.backend()
    settings = json.loads(json.dumps(settings))  # as they come out of a file, without tuples
    return Recording(f"{backend}-{device}", settings, {**environment.record(), "device": device}, arrays)


def _checked_device(device: Device | None) -> Device:
    if device is not None:
        check_choice("device", device, get_args(Device))
    found: Device = "gpu" if environment.device_kind() == "gpu" else "cpu"
    if device == "gpu" and found == "cpu":
        raise ValueError(f"`device` is 'gpu', and {keras.backend.backend()} sees none. `kzoo doctor` may say why.")
    return device or found


@dataclasses.dataclass(frozen=True)
class _Training:
    """What is trained, whatever the precision and the rate."""

    model: str | Callable[..., keras.Model]
    dataset: Dataset
    steps: int
    dropout: float
    seed: int

    def build(self, recipe: Recipe) -> keras.Model:
        ops.set_precision(recipe.precision)
        keras.utils.clear_session(free_memory=False)  # or layers without a name would be numbered on
        form: dict[str, Any] = {"dropout": self.dropout, "seed": self.seed}
        form |= {"input_shape": self.dataset.image_shape, "classes": self.dataset.classes}
        network = create_model(self.model, **form) if isinstance(self.model, str) else self.model(**form)
        set_pixel_statistics(network, self.dataset, recipe)
        compile_model(network, recipe, self.steps)
        return network

    def batches(self, recipe: Recipe) -> Iterator[Batch]:
        batches: Batches = training_batches(self.dataset, recipe, self.seed)
        for step in range(self.steps):
            yield batches.batch(*divmod(step, batches.batches_per_epoch))


def _quantities(model: keras.Model, training: _Training, recipe: Recipe) -> Iterator[tuple[str, Array]]:
    """Yields key and array of every quantity, in the order of TOLERANCES."""
    yield from ((f"initial weights/{weight.path}", digest(_array(weight))) for weight in model.weights)
    steps = list(_trained(model, training, recipe))
    for quantity in TOLERANCES:
        for step in steps:
            yield from ((key, array) for key, array in step.items() if key.startswith(f"{quantity}/"))
    yield from ((f"final weights/{weight.path}", _array(weight)) for weight in model.weights)
    images = training.dataset.test.read(np.arange(min(_PREDICTED_IMAGES, len(training.dataset.test))))
    yield "predictions/test images", model.predict(images, batch_size=recipe.batch_size, verbose=0)
    yield from ((f"early stopping/{name}", epochs) for name, epochs in scripted_stopping().items())


def _trained(model: keras.Model, training: _Training, recipe: Recipe) -> Iterator[dict[str, Array]]:
    """Trains the model, and yields what each step has to show."""
    masks = _Masks(model)
    for number, (images, labels) in enumerate(training.batches(recipe), start=1):
        shown = {f"batches/step {number}": digest(images, labels)}
        shown |= {f"masks/{layer} step {number}": digest(mask) for layer, mask in masks.draw(len(images)).items()}
        shown[f"learning rates/step {number}"] = np.asarray(float(model.optimizer.learning_rate))
        before = {weight.path: _array(weight) for weight in model.trainable_weights} if number == 1 else {}
        if number == 1:
            shown |= _first_pass(model, images, labels)
        shown[f"losses/step {number}"] = np.asarray(model.train_on_batch(images, labels)[0], np.float64)
        if number == 1:
            shown |= {f"batch statistics/{weight.path}": _array(weight) for weight in _moving_averages(model)}
            after = {weight.path: _array(weight) for weight in model.trainable_weights}
            shown |= {f"first update/{path}": after[path] - before[path] for path in before}
        yield shown


def _first_pass(model: keras.Model, images: Any, labels: Any) -> dict[str, Array]:
    """Runs one step forward and back: moments of each layer, logits, and gradients from the head to the stem."""
    with deep_recursion():
        probe = keras.Model(model.inputs, [layer.output for layer in model.layers])
    rectifiers = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]

    def forward() -> tuple[Any, Any]:
        outputs = probe(keras.ops.convert_to_tensor(images, dtype=model.inputs[0].dtype), training=True)
        moments = [_moments(output) for output in outputs]  # no dictionary: JAX would sort it
        active = [outputs[model.layers.index(layer)] > 0 for layer in rectifiers]
        return model.loss(keras.ops.convert_to_tensor(labels), outputs[-1]), (moments, active, outputs[-1])

    gradients, (moments, active, logits) = ops.gradients(forward, model.trainable_weights)
    shown = {f"layers/{layer.name}": _array(m) for layer, m in zip(model.layers, moments, strict=True)}
    shown |= {f"active units/{layer.name}": _array(units) for layer, units in zip(rectifiers, active, strict=True)}
    shown["logits/step 1"] = _array(logits)
    of_weights = list(zip(model.trainable_weights, gradients, strict=True))
    return shown | {f"gradients/{weight.path}": _array(gradient) for weight, gradient in reversed(of_weights)}


def _moments(output: Any) -> Any:
    """Returns mean and root mean square of each channel: a mistake in a layer shows in them, and they are small."""
    axes = tuple(range(len(output.shape) - 1))
    return keras.ops.stack([keras.ops.mean(output, axes), keras.ops.sqrt(keras.ops.mean(output * output, axes))])


def _moving_averages(model: keras.Model) -> list[Any]:
    layers = [layer for layer in model.layers if hasattr(layer, "moving_variance")]
    return [weight for layer in layers for weight in (layer.moving_mean, layer.moving_variance)]


class _Masks(keras.Model):
    """Draws the masks that the dropout layers of a model would draw next, in a compiled step, and puts them back."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__(name="masks")
        self.dropouts = [layer for layer in model.layers if isinstance(layer, Dropout)]
        self.shapes = [tuple(layer.output.shape[1:]) for layer in self.dropouts]

    def call(self, inputs: list[Any]) -> list[Any]:
        return [layer(x, training=True) for layer, x in zip(self.dropouts, inputs, strict=True)]

    def draw(self, batch_size: int) -> dict[str, Array]:
        """Returns the name of each layer and its next mask, of shape `(batch_size, height, width, channels)`."""
        if not self.dropouts:
            return {}
        steps = [_array(layer.step) for layer in self.dropouts]
        outputs = self.predict_on_batch([np.ones((batch_size, *shape), np.float32) for shape in self.shapes])
        for layer, step in zip(self.dropouts, steps, strict=True):
            layer.step.assign(step)
        return {layer.name: np.asarray(kept) != 0 for layer, kept in zip(self.dropouts, outputs, strict=True)}


def _drift(training: _Training) -> Iterator[tuple[str, Array]]:
    """Yields the losses of trainings that differ in nothing but the precision, at each rate."""
    for learning_rate in DRIFT_RATES:
        for dtype in ("float32", "float64"):
            recipe = parity_recipe(dtype, learning_rate)
            model = training.build(recipe)
            losses = [model.train_on_batch(images, labels)[0] for images, labels in training.batches(recipe)]
            yield f"drift/{dtype} at {learning_rate}", np.array(losses, np.float64)


def _array(tensor: Any) -> Array:
    return np.array(keras.ops.convert_to_numpy(tensor))  # a copy: torch and TensorFlow may share memory with a weight
