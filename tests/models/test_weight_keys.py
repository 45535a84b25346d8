"""The keys of a weights file are fixed: published files depend on them."""

import h5py

import kzoo

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def keys_of(path):
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


def keys(layer, count, variables):
    names = [layer] + [f"{layer}_{i}" for i in range(1, count)]
    return [f"layers/{name}/vars/{i}" for name in names for i in range(variables)]


def test_weights_file_of_resnet20_has_its_keys(tmp_path):
    kzoo.save_weights(kzoo.resnet20(dropout=0.1), tmp_path / "m.weights.h5")
    expected = [
        *keys("conv2d", 19, 1),
        *keys("batch_norm", 19, 4),
        *keys("dropout", 9, 1),
        *keys("pixel_normalization", 1, 2),
        *keys("dense", 1, 2),
    ]
    assert keys_of(tmp_path / "m.weights.h5") == sorted(expected)


def test_layers_of_resnet8_keep_their_order():
    weights = [weight.path for weight in kzoo.resnet(8, shortcut="projection").weights]
    expected = ["normalization/mean", "normalization/std", "stem_conv/kernel", *norm("stem_norm")]
    for stage in (1, 2, 3):
        block = f"stage{stage}_block1"
        expected += [f"{block}_conv1/kernel", *norm(f"{block}_norm1")]
        if stage == 1:
            expected += [f"{block}_conv2/kernel", *norm(f"{block}_norm2")]
        else:
            expected += [f"{block}_shortcut_conv/kernel", f"{block}_conv2/kernel"]
            expected += [*norm(f"{block}_shortcut_norm"), *norm(f"{block}_norm2")]
    assert weights == [*expected, "classifier/kernel", "classifier/bias"]


def norm(name):
    return [f"{name}/{variable}" for variable in NORM]
