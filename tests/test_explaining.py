import dataclasses
import json

import keras
import numpy as np
import pytest
from commands import kzoo_command, printed_json
from PIL import Image

import kzoo
from kzoo.explaining import draw_explanation, explain

PNG = b"\x89PNG"
IMAGE = np.random.RandomState(0).randint(0, 256, (16, 16, 3))
FORMS = {
    "classic": {},
    "preact": {"order": "preact"},
    "additive": {"order": "additive"},
    "bare": {"normalization": None},
    "bare preact": {"normalization": None, "order": "preact"},
}


def network(**form):
    """A network whose batch statistics are not those that it began with."""
    model = kzoo.resnet(8, input_shape=(16, 16, 3), seed=3, **form)
    random = np.random.RandomState(1)
    for layer in model.layers:
        if isinstance(layer, kzoo.BatchNorm):
            layer.moving_mean.assign(0.2 * random.standard_normal(layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
            layer.beta.assign(0.2 * random.standard_normal(layer.beta.shape))
    return model


def arrays(model, *layers):
    probe = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    return [np.asarray(one, np.float64) for one in probe.predict_on_batch(IMAGE[None].astype("float32"))]


def test_heat_of_a_classic_network_is_what_its_classifier_weighs():
    # After the last stage come the mean over space and a product: the gradient is the classifier's column.
    model = network()
    found = explain(model, IMAGE, target=4)
    features, _ = arrays(model, "stage3_block1_relu2", "classifier")
    column = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)[:, 4]
    heat = np.maximum(features[0] @ column, 0)
    np.testing.assert_allclose(found.heat, heat / heat.max(), atol=1e-5)
    assert found.layer == "stage3_block1_relu2"


def test_heat_is_by_the_gradient_of_the_logit():
    """By differences: where the head is not linear, as after the last stage of a pre-activation network."""
    model = network(order="preact")
    found = explain(model, IMAGE, target=2)
    layer = model.get_layer(found.layer)
    (features, _) = arrays(model, found.layer, "classifier")
    head, weights = keras.Model(layer.output, model.output), np.zeros(features.shape[-1])
    step = 1e-2
    for channel in range(len(weights)):
        moved = np.repeat(features, 2, axis=0)
        moved[0, ..., channel] += step  # all places at once: the sum of their gradients
        moved[1, ..., channel] -= step
        up, down = head.predict_on_batch(moved.astype("float32"))[:, 2]
        weights[channel] = (up - down) / (2 * step * features.shape[1] * features.shape[2])
    heat = np.maximum(features[0] @ weights, 0)
    np.testing.assert_allclose(found.heat, heat / heat.max(), atol=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_change_of_a_block_is_that_of_its_definition(form):
    model = network(**FORMS[form])
    found = explain(model, IMAGE)
    last = "relu2" if FORMS[form].get("order", "classic") == "classic" else "add"
    # The first block of the first stage has the identity for a shortcut, and what comes before it as its input.
    before = "stem_conv" if "preact" in form else "stem_relu"
    inputs, outputs = arrays(model, before, f"stage1_block1_{last}")
    expected = np.linalg.norm(outputs - inputs) / np.linalg.norm(inputs)
    assert list(found.changes) == ["stage1_block1", "stage2_block1", "stage3_block1"]
    assert found.changes["stage1_block1"] == pytest.approx(expected, rel=1e-5)


def test_block_that_adds_nothing_changes_nothing():
    model = kzoo.resnet(8, input_shape=(16, 16, 3), zero_init_residual=True)
    assert explain(model, IMAGE).changes == dict.fromkeys(["stage1_block1", "stage2_block1", "stage3_block1"], 0.0)


def test_likeliest_class_is_explained_where_none_is_named():
    model = network()
    found = explain(model, IMAGE)
    assert found.target == int(np.argmax(model.predict_on_batch(IMAGE[None].astype("float32"))[0]))
    assert found.heat.shape == (4, 4)
    assert 0 <= found.heat.min() <= found.heat.max() <= 1


def test_plain_network_has_no_blocks_to_explain(tmp_path):
    found = explain(network(shortcut="none"), IMAGE)
    assert found.changes == {}
    draw_explanation(found, IMAGE, tmp_path / "plain.png")
    assert (tmp_path / "plain.png").read_bytes().startswith(PNG)


def test_network_of_keras_layers_is_explained():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="features")(inputs)
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    assert explain(keras.Model(inputs, outputs), IMAGE).layer == "features"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet20"}, "`model` must be a keras.Model"),
        ({"image": IMAGE[:8]}, "`images` must be numbers of shape \\(n, 16, 16, 3\\). Received:"),
        ({"target": 10}, "`target` must be below 10, the classes of the model. Received: target=10."),
        ({"target": -1}, "`target` must be at least 0. Received: target=-1."),
    ],
)
def test_what_cannot_be_explained_is_told(change, message):
    with pytest.raises(ValueError, match=message):
        explain(**{"model": network(), "image": IMAGE, **change})


def test_model_without_a_feature_map_is_told():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="`model` must be functional, with a feature map. Received:"):
        explain(model, np.zeros(4))


def test_command_draws_one_picture(tmp_path):
    dataset = kzoo.load_dataset("digits", image_size=8)
    few = {name: getattr(dataset, name).take(np.arange(16)) for name in ("train", "validation", "test")}
    few = dataclasses.replace(dataset, **few)
    model = kzoo.resnet(8, input_shape=(8, 8, 3))
    recipe = kzoo.Recipe(epochs=1, batch_size=16, patience=None)
    kzoo.fit(model, few, recipe, run_dir=tmp_path / "run", verbose=0)
    Image.fromarray(dataset.test.images[0]).save(tmp_path / "digit.png")
    given = ("explain", tmp_path / "run", tmp_path / "digit.png", "--target", 3, "--picture", tmp_path / "why.png")
    printed = printed_json(*given)
    assert printed["class"] == dataset.class_names[3]
    assert len(printed["changes"]) == 3
    assert (tmp_path / "why.png").read_bytes().startswith(PNG)
    assert json.dumps(printed)
    assert "stage1_block1" in kzoo_command(*given).output
