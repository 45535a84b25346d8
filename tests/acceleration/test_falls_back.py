"""What the definitions support is supported with acceleration on, and gives the same."""

import functools
import warnings

import keras
import numpy as np
import pytest
from definition import by_definition, small_model
from keras import ops

import kzoo
import kzoo.ops
from kzoo import environment

BACKEND = keras.backend.backend()
RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.randint(0, 256, (6, 8, 8, 3)).astype("float32")
LABELS = RANDOM.randint(0, 5, 6)

only_on_torch = pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch")
only_on_jax = pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
only_on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")


def seeded_model(**options):
    keras.utils.set_random_seed(0)
    return small_model(**options)


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def assert_close(actual, expected, tolerance=1e-4):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1e-3, np.abs(expected).max()))


# Errors


def fails(*args, **kwargs):
    raise RuntimeError("out of memory")


def test_an_error_in_a_call_is_raised_as_it_is_and_no_call_is_made_again(monkeypatch):
    dropout, norm, x = kzoo.Dropout(0.5), kzoo.BatchNorm(momentum=0.5), ops.convert_to_tensor(IMAGES)
    dropout.build(IMAGES.shape), norm.build(IMAGES.shape)
    monkeypatch.setattr(kzoo.ops, "dropout_mask", fails)
    monkeypatch.setattr(norm.moving_variance, "assign", fails)
    update, calls = kzoo.ops.update_average, []

    def update_once(average, value, momentum):
        calls.append(average)
        return update(average, value, momentum) if len(calls) < 2 else fails()

    monkeypatch.setattr(kzoo.ops, "update_average", update_once)
    for layer in (dropout, norm):
        with pytest.raises(RuntimeError, match="out of memory"):
            layer(x, training=True)
    assert int(dropout.step) == 1
    assert_close(array(norm.moving_mean), IMAGES.mean((0, 1, 2)) / 2)


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError])
def test_an_error_in_a_call_comes_once(monkeypatch, error):
    calls = []

    def convolve(*args):
        calls.append(args)
        raise error("no")

    layer = kzoo.Conv2D(4)
    layer.build(IMAGES.shape)
    monkeypatch.setattr(kzoo.ops, "conv2d", convolve)
    with pytest.raises(error, match="no"):
        layer(ops.convert_to_tensor(IMAGES))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: kzoo.Conv2D(4), (2, 8, 8, 5)),
        (lambda: kzoo.Conv2D(4), (8, 8, 3)),
        (lambda: kzoo.Conv2DReLU(4), (2, 8, 8, 5)),
        (lambda: kzoo.Conv2DReLU(4), (8, 8, 3)),
        (kzoo.BatchNorm, (2, 8, 8, 5)),
        (kzoo.ScaleShift, (2, 8, 8, 5)),
        (kzoo.PixelNormalization, (2, 8, 8, 5)),
    ],
)
def test_images_that_do_not_fit_are_an_error(make, shape):
    layer = make()
    layer.build((None, 8, 8, 3))
    with pytest.raises(Exception, match=r"\w+\.call\(\)"):
        layer(ops.ones(shape), **({"training": True} if isinstance(layer, kzoo.BatchNorm) else {}))


def test_what_a_layer_is_told_to_expect_is_checked():
    layer = kzoo.ReLU()
    layer.input_spec = keras.layers.InputSpec(ndim=4)
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=2"):
        layer(ops.ones((2, 3)))


@pytest.mark.parametrize("shapes", [[(2, 8, 8, 3), (2, 1, 3)], [(2, 8, 8, 3), (2, 1, 1, 3)]])
def test_sums_of_other_shapes_are_those_of_keras(shapes):
    tensors = [ops.convert_to_tensor(RANDOM.rand(*shape).astype("float32")) for shape in shapes]
    assert_close(array(kzoo.Add()(tensors)), array(keras.layers.Add()(tensors)), 0)


# Models of any size, traced and exported


def forms():
    model = seeded_model()
    return {"as built": model, "folded": kzoo.fold_batch_norm(model)}


@pytest.mark.parametrize("form", ["as built", "folded"])
@only_on_jax
def test_jax_exports_models_for_any_number_of_images(form):
    import jax
    from jax import export

    model = forms()[form]
    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, 8, 8, 3), "float32")
    exported = export.export(jax.jit(lambda images: model(images)))(shape)
    for images in (IMAGES, IMAGES[:1]):
        assert_close(exported.call(images), array(model(images)))


@only_on_jax
def test_jax_exports_networks_for_images_of_any_number_and_size():
    import jax
    from jax import export

    images = keras.Input((None, None, 3))
    x = kzoo.Add()([kzoo.Conv2D(6, stride=2)(images), kzoo.ZeroPadShortcut(6)(images)])
    model = kzoo.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    sizes = export.symbolic_shape("batch, height, width, 3")
    exported = export.export(jax.jit(lambda images: model(images)))(jax.ShapeDtypeStruct(sizes, "float32"))
    for images in (IMAGES, RANDOM.uniform(0, 255, (2, 9, 12, 3)).astype("float32")):
        assert_close(exported.call(images), array(model(images)))


@pytest.mark.parametrize("form", ["as built", "folded"])
@only_on_jax
def test_jax_runs_models_without_its_compiler(form, monkeypatch):
    import jax

    from kzoo.acceleration import jax_onednn

    monkeypatch.setattr(jax_onednn, "FEW", 0)  # so that small images go to oneDNN as well
    model = forms()[form]
    expected = array(model(IMAGES))
    with jax.disable_jit():
        assert_close(array(model(IMAGES)), expected)


@only_on_jax
def test_jax_trains_without_its_compiler(monkeypatch):
    import jax

    from kzoo.acceleration import jax_onednn

    monkeypatch.setattr(jax_onednn, "FEW", 0)
    images, kernel = IMAGES / 255, RANDOM.standard_normal((3, 3, 3, 4)).astype("float32")

    def loss(images, kernel):
        return ops.sum(ops.square(kzoo.ops.conv2d(images, kernel)))

    expected = jax.grad(loss, (0, 1))(images, kernel)
    with jax.disable_jit():
        for a, b in zip(jax.grad(loss, (0, 1))(images, kernel), expected, strict=True):
            assert_close(np.asarray(a), np.asarray(b), 1e-4)


@pytest.mark.parametrize("form", ["as built", "folded"])
@only_on_jax
def test_jax_differentiates_models_forward(form):
    import jax

    model = forms()[form]
    way = RANDOM.standard_normal(IMAGES.shape).astype("float32")
    y, tangent = jax.jvp(model, (IMAGES,), (way,))
    assert_close(np.asarray(y), array(model(IMAGES)))
    backward = jax.jacrev(model)(IMAGES)
    assert_close(np.asarray(tangent), np.tensordot(backward, way, axes=4))


@only_on_jax
def test_jax_exports_training_for_any_number_of_images():
    import jax
    from jax import export

    model = seeded_model()
    state = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    def gradient(images):
        def loss(state):
            return ops.mean(ops.square(model.stateless_call(state, others, images, training=True)[0]))

        return jax.grad(loss)(state)

    (batch,) = export.symbolic_shape("batch")
    exported = export.export(jax.jit(gradient))(jax.ShapeDtypeStruct((batch, 8, 8, 3), "float32"))
    for a, b in zip(exported.call(IMAGES), jax.jit(gradient)(IMAGES), strict=True):
        assert_close(np.asarray(a), np.asarray(b), 1e-3)


@pytest.mark.parametrize("form", ["as built", "folded"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@only_on_tensorflow
def test_tensorflow_traces_models_for_images_of_any_number(form, training, compiled):
    import tensorflow as tf

    model = forms()[form]
    weights = model.get_weights()

    def call(images):
        model.set_weights(weights)
        return array(traced(images))

    signature = [tf.TensorSpec((None, 8, 8, 3))]
    traced = tf.function(
        lambda images: model(images, training=training), input_signature=signature, jit_compile=compiled
    )
    for images in (IMAGES, IMAGES[:1]):
        actual = call(images)
        model.set_weights(weights)
        with by_definition():
            assert_close(actual, array(model(images, training=training)))


@pytest.mark.parametrize("form", ["as built", "folded"])
@only_on_torch
@pytest.mark.filterwarnings("ignore")
def test_pytorch_exports_models_for_any_number_of_images(form):
    import torch

    model = forms()[form]
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (torch.from_numpy(IMAGES),), dynamic_shapes=(({0: batch},),), strict=False)
    for images in (IMAGES, IMAGES[:2]):
        assert_close(array(exported.module()(torch.from_numpy(images))), array(model(images)))


@pytest.mark.parametrize("form", ["as built", "folded"])
@only_on_torch
@pytest.mark.filterwarnings("ignore")
def test_pytorch_compiles_models(form):
    import torch

    model = forms()[form]
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        for images in (IMAGES, IMAGES[:1]):
            assert_close(array(compiled(torch.from_numpy(images))), array(model(images)))


@pytest.mark.parametrize("form", ["as built", "folded"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("way", ["model", "closure"])
@only_on_torch
@pytest.mark.filterwarnings("ignore")
def test_pytorch_traces_models(form, training, way):
    import torch

    model = forms()[form]
    weights = model.get_weights()
    for parameter in model.parameters():  # a trace takes what a closure holds for constants
        parameter.requires_grad_(False)
    if way == "model":
        call = functools.partial(model, training=training)
        traced_module = torch.nn.Module()
        traced_module.model = model
        traced_module.forward = call
        traced = torch.jit.trace(traced_module, torch.from_numpy(IMAGES), check_trace=False)
    else:
        traced = torch.jit.trace(lambda images: model(images, training=training), torch.from_numpy(IMAGES))
    for images in (IMAGES, IMAGES[:1], np.concatenate([IMAGES] * 3)):
        model.set_weights(weights)
        actual = array(traced(torch.from_numpy(images)))
        model.set_weights(weights)
        assert_close(actual, array(model(torch.from_numpy(images), training=training)), 1e-3)


@only_on_torch
@pytest.mark.filterwarnings("ignore")
def test_pytorch_says_what_a_trace_cannot_hold():
    import torch

    model = seeded_model()
    with pytest.raises(RuntimeError, match="requires grad"):
        torch.jit.trace(lambda images: model(images), torch.from_numpy(IMAGES))


@only_on_torch
def test_pytorch_counts_the_operations_of_folded_models():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = forms()["folded"]
    counted = []
    for context in (warnings.catch_warnings, by_definition):
        with context(), torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.from_numpy(IMAGES))
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1] > 0


@only_on_torch
@pytest.mark.parametrize("form", ["as built", "folded"])
def test_pytorch_casts_by_itself(form):
    import torch

    model = forms()[form]
    results = []
    for context in (warnings.catch_warnings, by_definition):
        with context(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            results.append(model(torch.from_numpy(IMAGES)))
    assert results[0].dtype == results[1].dtype
    assert_close(array(results[0]), array(results[1]), 0.02)


# Devices


@pytest.mark.parametrize(
    ("backend", "found", "kind"),
    [
        ("tensorflow", ["CPU"], "cpu"),
        ("tensorflow", ["CPU", "GPU"], "gpu"),
        ("tensorflow", ["CPU", "TPU"], "tpu"),
        ("tensorflow", ["CPU", "XPU"], "gpu"),
        ("jax", "cpu", "cpu"),
        ("jax", "gpu", "gpu"),
        ("jax", "tpu", "tpu"),
        ("jax", "METAL", "gpu"),
        ("torch", "cpu", "cpu"),
        ("torch", "cuda", "gpu"),
        ("torch", "mps", "gpu"),
        ("torch", "xla", "tpu"),
    ],
)
def test_the_kind_of_a_device_is_that_which_computes(monkeypatch, backend, found, kind):
    if backend != BACKEND:
        pytest.skip(f"of {backend}")
    if backend == "tensorflow":
        import tensorflow as tf

        devices = [tf.config.PhysicalDevice(f"/physical_device:{name}:0", name) for name in found]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    elif backend == "jax":
        import jax

        monkeypatch.setattr(jax, "default_backend", lambda: found)
    else:
        import types

        monkeypatch.setattr(ops, "zeros", lambda shape: types.SimpleNamespace(device=types.SimpleNamespace(type=found)))
    assert kzoo.environment.device_kind() == kind
    assert kzoo.environment.computes_on_cpu() is (kind == "cpu")


@pytest.mark.skipif(BACKEND == "torch", reason="there a tensor says where it is")
@pytest.mark.parametrize("kind", ["gpu", "tpu"])
def test_forms_for_cpus_are_taken_on_cpus_alone(monkeypatch, kind):
    if BACKEND == "jax":
        import jax

        monkeypatch.setattr(jax, "default_backend", lambda: kind)
        text = str(
            jax.make_jaxpr(jax.grad(lambda x, k: ops.sum(kzoo.ops.conv2d(x, k)), (0, 1)))(
                IMAGES, np.ones((3, 3, 3, 4), "float32")
            )
        )
        assert "kzoo" not in text
        return
    import tensorflow as tf

    monkeypatch.setattr(kzoo.environment, "device_kind", lambda: kind)

    def operations(function):
        graph = tf.function(function).get_concrete_function(tf.TensorSpec((2, 8, 8, 3))).graph
        return {operation.type for operation in graph.get_operations()}

    assert "AvgPool" not in operations(lambda x: kzoo.ops.subsample(x, 2))
    assert "IdentityN" not in operations(lambda x: kzoo.ops.conv2d(x, tf.ones((3, 3, 3, 4))))
    assert "IdentityN" not in operations(lambda x: kzoo.ops.batch_norm(x, tf.ones(3), tf.ones(3), 1e-5)[0])


# What Keras lets people do with a model


def compiled(model, **options):
    model.compile(kzoo.SGD(0.01, 0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def pairs(array_of=np.asarray):
    return array_of(IMAGES), array_of(LABELS)


def by_fit(model, x=IMAGES, y=LABELS, **options):
    model.fit(x, y, **{"batch_size": 3, "epochs": 2, "shuffle": False, "verbose": 0, **options})


def by_generator(model):
    def batches():
        while True:
            yield IMAGES[:3], LABELS[:3]
            yield IMAGES[3:], LABELS[3:]

    model.fit(batches(), steps_per_epoch=2, epochs=2, shuffle=False, verbose=0)


def by_batches(model):
    for start in (0, 3, 0, 3):
        model.train_on_batch(IMAGES[start : start + 3], LABELS[start : start + 3])


def by_shuffling(model):
    keras.utils.set_random_seed(5)
    by_fit(model, shuffle=True)


TRAININGS = {
    "as ever": by_fit,
    "batches": by_batches,
    "generator": by_generator,
    "shuffled": by_shuffling,
    "tensors": lambda model: by_fit(model, *pairs(ops.convert_to_tensor)),
    "float64": lambda model: by_fit(model, IMAGES.astype("float64")),
    "float16": lambda model: by_fit(model, IMAGES.astype("float16")),
    "uint8": lambda model: by_fit(model, IMAGES.astype("uint8"), LABELS.astype("uint8")),
    "column of labels": lambda model: by_fit(model, y=LABELS[:, None]),
    "every other image": lambda model: by_fit(model, np.repeat(IMAGES, 2, 0)[::2], np.repeat(LABELS, 2)[::2]),
    "other layout": lambda model: by_fit(model, np.asfortranarray(IMAGES)),
    "sample weights": lambda model: by_fit(model, sample_weight=np.arange(6.0)),
    "class weights": lambda model: by_fit(model, class_weight={i: i + 1.0 for i in range(5)}),
    "validation": lambda model: by_fit(model, validation_split=0.5),
}
# PyTorch and TensorFlow have pipelines of kzoo's; what is compiled takes its time.
KINDS = {"tensorflow": ["batches", "generator", "uint8", "class weights", "validation"], "jax": ["class weights"]}
COMPILED = {
    "eager": {"run_eagerly": True},
    "compiled": {"jit_compile": True},
    "four steps": {"steps_per_execution": 2},
}


def results(train, make=seeded_model, **options):
    model = compiled(make(dropout=0.3), **options)
    train(model)
    return [model.predict(IMAGES, batch_size=4, verbose=0), *model.get_weights()]


def assert_trains_alike(train, make=seeded_model, **options):
    actual = results(train, make, **options)
    with by_definition():
        expected = results(train, functools.partial(make, model_class=keras.Model), **options)
    for a, b in zip(actual, expected, strict=True):
        assert_close(a, b, 2e-3)


@pytest.mark.parametrize("way", KINDS.get(BACKEND, TRAININGS))
def test_models_train_alike_on(way):
    assert_trains_alike(TRAININGS[way])


WAYS = {"torch": ["eager"], "tensorflow": ["eager", "compiled", "four steps"], "jax": ["four steps"]}


@pytest.mark.parametrize("way", WAYS[BACKEND])
def test_models_train_alike_when_compiled(way):
    assert_trains_alike(by_fit, **COMPILED[way])


def frozen(**options):
    model = seeded_model(**options)
    for layer in model.layers[:6]:
        layer.trainable = False
    return model


def rematerialized(**options):
    with keras.RematScope(mode="full"):
        return seeded_model(**options)


def watched(**options):
    model = seeded_model(**options)
    model.layers[2].register_forward_hook(lambda module, inputs, output: output * 2)
    return model


def low_rank(**options):
    model = seeded_model(**options)
    model.get_layer("logits").enable_lora(2)
    return model


def cloned(model_class=kzoo.Model, **options):
    model = seeded_model(model_class=model_class, **options)
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model)
    clone.set_weights(model.get_weights())
    return clone


# Keras cannot train what it computes again on TensorFlow and JAX, with layers of its own as little.
CHANGES = {"torch": [frozen, rematerialized, watched, low_rank, cloned], "tensorflow": [frozen, cloned]}


@pytest.mark.parametrize("make", CHANGES.get(BACKEND, [low_rank]), ids=lambda make: make.__name__)
def test_changed_models_train_alike(make):
    assert_trains_alike(by_fit, make)


POLICIES = ["mixed_bfloat16", "float64", *([] if BACKEND == "jax" else ["mixed_float16", "float16"])]


@pytest.mark.parametrize("policy", POLICIES)
def test_models_of_a_precision_compute_alike(policy):
    if policy == "float64":
        kzoo.set_precision("float64")
    keras.config.set_dtype_policy(policy)
    model = seeded_model()
    y = model(ops.convert_to_tensor(IMAGES), training=True)
    fast, weights = array(y), [array(weight) for weight in model.weights]
    with by_definition():
        again = seeded_model(model_class=keras.Model)
        expected = again(ops.convert_to_tensor(IMAGES), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == keras.backend.standardize_dtype(expected.dtype)
    tolerance = 1e-4 if policy == "float64" else 0.05
    assert_close(fast, array(expected), tolerance)
    for a, b in zip(weights, again.weights, strict=True):
        assert_close(a, array(b), tolerance)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="its convolutions give the shape of their input, in Keras too")
@pytest.mark.parametrize(("form", "training"), [("as built", True), ("folded", False)])
def test_no_images_give_no_results(form, training):
    model = forms()[form]
    assert array(model(ops.zeros((0, 8, 8, 3)), training=training)).shape == (0, 5)


def test_models_are_saved_and_summed_up(tmp_path):
    model = seeded_model()
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert type(again) is kzoo.Model
    again.summary(print_fn=lambda text: None)
    assert_close(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method implemented")
def test_models_are_quantized():
    if BACKEND == "jax" and environment.device_kind() == "gpu":
        pytest.skip("XLA cannot multiply matrices of 8-bit integers as small as these on GPUs")
    model, plain = seeded_model(), seeded_model(model_class=keras.Model)
    for network in (model, plain):
        network.quantize("int8")
    actual = model.predict(IMAGES, verbose=0)
    with by_definition():
        assert_close(actual, plain.predict(IMAGES, verbose=0), 0.02)


def test_models_are_mapped():
    model = seeded_model()
    images = ops.convert_to_tensor(IMAGES)
    mapped = ops.vectorized_map(lambda image: model(image[None])[0], images)
    assert_close(array(mapped), array(model(images)), 1e-3)


def test_a_subclass_may_train_in_its_own_way():
    class Counted(kzoo.Model):
        def train_step(self, *args):
            self.__dict__["steps"] = self.__dict__.get("steps", 0) + 1
            return super().train_step(*args)

    model = compiled(seeded_model(model_class=Counted))
    by_fit(model)
    assert model.steps >= (4 if BACKEND == "torch" else 1)  # others trace it
