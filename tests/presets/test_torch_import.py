import dataclasses
import hashlib
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo
from kzoo.models import importing
from kzoo.presets import checkpoint as module
from kzoo.presets import registry

KERNEL = "layer2.0.conv1.weight"


def twin(depth, classes=10):
    """The network of chenyaofo/pytorch-cifar-models, by its names, in PyTorch."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels, planes, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.downsample = None
            if stride != 1 or channels != planes:
                conv = nn.Conv2d(channels, planes, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(planes))

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            blocks = (depth - 2) // 6
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
            self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(blocks - 1)))
            self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(blocks - 1)))
            self.fc = nn.Linear(64, classes)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

    torch.manual_seed(depth)
    network = Network().eval()
    for name, tensor in network.state_dict().items():
        if "running" in name or ".bn" in name or name.startswith("bn") or "downsample.1" in name:
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.tensor(7))
    return network


STATISTICS = {  # as chenyaofo publishes them
    10: ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    100: ((0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)),
}


def pixels(n=4):
    return np.random.RandomState(0).randint(0, 256, (n, 32, 32, 3)).astype("uint8")


def logits_of(network, images, classes):
    torch = pytest.importorskip("torch")
    mean, std = (torch.tensor(values) for values in STATISTICS[classes])
    x = (torch.tensor(images) / 255 - mean) / std
    with torch.no_grad():
        return network.double()(x.permute(0, 3, 1, 2).double()).numpy()


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("depth", [20, 56])
def test_chenyaofo_twin_gives_the_same_logits(tmp_path, depth, classes):
    torch = pytest.importorskip("torch")
    network = twin(depth, classes)
    torch.save(network.state_dict(), tmp_path / "twin.pt")
    expected = logits_of(network, pixels(), classes)
    kzoo.set_precision("float64")
    model = kzoo.resnet(depth, shortcut="projection", classes=classes)
    kzoo.load_torch_checkpoint(model, tmp_path / "twin.pt", layout="chenyaofo")
    np.testing.assert_allclose(model.predict(pixels(), verbose=0), expected, rtol=0, atol=1e-9 * abs(expected).max())


def pytorchcv_name(name):
    """What osmr/imgclsmob calls a tensor of the twin."""
    name = name.replace("fc.", "output.").replace("downsample.0", "identity_conv.conv")
    name = name.replace("downsample.1", "identity_conv.bn")
    if not name.startswith("layer"):
        return name.replace("conv1.", "features.init_block.conv.").replace("bn1.", "features.init_block.bn.")
    layer, unit, rest = name.split(".", 2)
    rest = re.sub(r"^(conv|bn)(\d)", r"body.conv\2.\1", rest)
    return f"features.{layer.replace('layer', 'stage')}.unit{int(unit) + 1}.{rest}"


def test_pytorchcv_twin_gives_the_same_logits(tmp_path):
    torch = pytest.importorskip("torch")
    network = twin(20)
    state = {pytorchcv_name(name): tensor for name, tensor in network.state_dict().items()}
    assert "features.stage1.unit1.body.conv1.conv.weight" in state
    assert "features.stage2.unit1.identity_conv.bn.running_var" in state
    torch.save(state, tmp_path / "twin.pth")
    expected = logits_of(network, pixels(), 10)
    kzoo.set_precision("float64")
    model = kzoo.resnet20(shortcut="projection")
    kzoo.load_torch_checkpoint(model, tmp_path / "twin.pth", layout="pytorchcv")
    np.testing.assert_allclose(model.predict(pixels(), verbose=0), expected, rtol=0, atol=1e-9 * abs(expected).max())


def test_chenyaofo_preset_knows_its_form_and_its_classes(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    network = twin(20, 100)
    torch.save(network.state_dict(), tmp_path / "twin.pt")
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    name = "chenyaofo_cifar100_resnet20"
    sha256 = hashlib.sha256((tmp_path / "twin.pt").read_bytes()).hexdigest()
    there = {"url": (tmp_path / "twin.pt").as_uri(), "sha256": sha256, "file": "kept.pt"}
    monkeypatch.setitem(registry._REGISTRY, name, dataclasses.replace(kzoo.preset_info(name), **there))
    model = kzoo.load_preset(name)
    expected = logits_of(network, pixels(), 100)
    np.testing.assert_allclose(model.predict(pixels(), verbose=0), expected, rtol=0, atol=1e-4 * abs(expected).max())
    assert model.class_names[:2] == ("apple", "aquarium_fish")
    assert kzoo.resnet20(weights=name).output_shape == (None, 100)


def test_import_writes_what_load_loads(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": twin(20, 100).state_dict(), "best": 1.0}, tmp_path / "twin.pt")
    out = tmp_path / "twin.weights.h5"
    imported = kzoo.import_checkpoint(tmp_path / "twin.pt", out, model="resnet20", layout="chenyaofo")
    model = kzoo.resnet20(shortcut="projection", classes=100, seed=1)
    kzoo.load_torch_checkpoint(model, tmp_path / "twin.pt", layout="chenyaofo")
    read = kzoo.resnet20(shortcut="projection", classes=100, weights=out, seed=2)
    for a, b, c in zip(imported.get_weights(), model.get_weights(), read.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_import_that_cannot_be_read_back_leaves_what_was_there(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    torch.save(twin(20, 10).state_dict(), tmp_path / "twin.pt")
    out = tmp_path / "twin.weights.h5"
    out.write_text("before")
    create_model = importing.create_model

    def failing(name, **arguments):
        if "weights" in arguments:
            assert out.read_text() == "before"
            raise ValueError("damaged")
        return create_model(name, **arguments)

    monkeypatch.setattr(importing, "create_model", failing)
    with pytest.raises(ValueError, match="damaged"):
        kzoo.import_checkpoint(tmp_path / "twin.pt", out, model="resnet20", layout="chenyaofo")
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["twin.pt", "twin.weights.h5"]


@pytest.mark.parametrize(("layout", "shortcut"), [("akamaster", "pad"), ("chenyaofo", "projection")])
def test_saved_checkpoint_is_read_back_as_it_was(tmp_path, layout, shortcut):
    pytest.importorskip("torch")
    model = kzoo.resnet20(shortcut=shortcut, seed=3)
    kzoo.save_torch_checkpoint(model, tmp_path / "saved.pt", layout=layout)
    read = kzoo.resnet20(shortcut=shortcut, seed=4)
    kzoo.load_torch_checkpoint(read, tmp_path / "saved.pt", layout=layout)
    pairs = [pair for pair in zip(model.weights, read.weights, strict=True) if "normalization/" not in pair[0].path]
    assert len(pairs) > 90
    for one, other in pairs:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)), err_msg=one.path)


@pytest.mark.parametrize("layout", ["chenyaofo", "pytorchcv"])
def test_saved_checkpoint_is_what_the_repository_loads(tmp_path, layout):
    torch = pytest.importorskip("torch")
    model = kzoo.resnet20(shortcut="projection", seed=3)
    kzoo.set_pixel_statistics(model, kzoo.load_dataset("digits"), kzoo.recipe("default"))
    kzoo.save_torch_checkpoint(model, tmp_path / "saved.pt", layout=layout)
    network = twin(20)
    state = torch.load(tmp_path / "saved.pt", weights_only=True)
    names = {name: name if layout == "chenyaofo" else pytorchcv_name(name) for name in network.state_dict()}
    assert set(state) == set(names.values())
    network.load_state_dict({name: state[other] for name, other in names.items()})
    mean, deviation = map(torch.tensor, model.get_layer("normalization").get_weights())
    with torch.no_grad():
        x = ((torch.tensor(pixels()) / 255 - mean) / deviation).permute(0, 3, 1, 2)
        answers = network(x.float()).numpy()
    np.testing.assert_allclose(model.predict(pixels(), verbose=0), answers, rtol=0, atol=1e-5 * abs(answers).max())


def test_model_without_the_projections_of_a_layout_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="must have projection shortcuts for the layout 'chenyaofo'. Received: 're"):
        kzoo.save_torch_checkpoint(kzoo.resnet20(), tmp_path / "saved.pt", layout="chenyaofo")
    with pytest.raises(ValueError, match="order 'classic'"):
        kzoo.save_torch_checkpoint(kzoo.resnet20(order="preact"), tmp_path / "saved.pt", layout="akamaster")
    assert list(tmp_path.iterdir()) == []


def test_import_checks_the_name_to_write_first(tmp_path):
    with pytest.raises(ValueError, match=r"Expected a file named \*.weights.h5. Received: .*twin.h5"):
        kzoo.import_checkpoint("none.pt", tmp_path / "twin.h5", model="resnet20", layout="chenyaofo")


def test_dropout_counters_are_no_weights(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(twin(8).state_dict(), tmp_path / "twin.pt")
    model = kzoo.resnet(8, shortcut="projection", dropout=0.2)
    kzoo.load_torch_checkpoint(model, tmp_path / "twin.pt", layout="chenyaofo")


def missing(state):
    del state[KERNEL]


def extra(state):
    state["layer2.0.conv3.weight"] = state[KERNEL]


def extra_counter(state):
    state["fc.num_batches_tracked"] = state["bn1.num_batches_tracked"]


def transposed(state):
    state[KERNEL] = state[KERNEL].transpose(0, 1)


def nan(state):
    state[KERNEL][3, 2, 1, 0] = float("nan")


def negative_variance(state):
    state["layer2.0.bn1.running_var"][3] = -1.0


def integers(state):
    state[KERNEL] = state[KERNEL].int()


def a_string(state):
    state[KERNEL] = "weights"


def a_number_of_classes_that_nobody_publishes(state):
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][:7], state["fc.bias"][:7]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (missing, f"{KERNEL} is missing"),
        (extra, r"layer2\.0\.conv3\.weight is left over: the model has no such tensor"),
        (extra_counter, r"fc\.num_batches_tracked is left over"),
        (transposed, rf"{KERNEL} must have shape \(32, 16, 3, 3\). Received: \(16, 32, 3, 3\)"),
        (nan, f"{KERNEL} must hold finite numbers. Received: nan"),
        (negative_variance, r"layer2\.0\.bn1\.running_var must hold variances, 0 or larger. Received: -1.0"),
        (integers, f"{KERNEL} must be float16, float32, float64. Received: int32"),
        (a_string, f"must hold tensors. Received: '.*{KERNEL}' of str"),
        (a_number_of_classes_that_nobody_publishes, r"fc\.weight must have shape \(10, 64\). Received: \(7, 64\)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_mistake_in_a_checkpoint_is_named_and_nothing_is_assigned(tmp_path, mistake, message, prefix):
    torch = pytest.importorskip("torch")
    state = twin(8).state_dict()
    mistake(state)
    torch.save({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "twin.pt")
    model = kzoo.resnet(8, shortcut="projection")
    with pytest.raises(ValueError, match=message):
        kzoo.load_torch_checkpoint(model, tmp_path / "twin.pt", layout="chenyaofo")
    for a, b in zip(model.get_weights(), kzoo.resnet(8, shortcut="projection").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 14}, r"layer1\.1\.conv1\.weight is missing"),
        ({"depth": 8, "shortcut": "pad"}, r"layer2\.0\.downsample\.0\.weight is left over"),
        ({"depth": 8, "shortcut": "none"}, "`model` must be a kzoo.resnet of order 'classic'"),
        ({"depth": 8, "order": "additive"}, "`model` must be a kzoo.resnet of order 'classic'"),
        ({"depth": 8, "order": "preact"}, "`model` must be a kzoo.resnet of order 'classic'"),
        ({"depth": 8, "normalization": None}, "`model` must be a kzoo.resnet of order 'classic'"),
        ({"depth": 8, "include_top": False}, r"fc\.weight is left over"),
    ],
)
def test_checkpoint_of_another_model_is_an_error(tmp_path, arguments, message):
    torch = pytest.importorskip("torch")
    torch.save(twin(8).state_dict(), tmp_path / "twin.pt")
    model = kzoo.resnet(**{"shortcut": "projection"} | arguments)
    with pytest.raises(ValueError, match=message):
        kzoo.load_torch_checkpoint(model, tmp_path / "twin.pt", layout="chenyaofo")


def test_model_of_somebody_else_is_an_error(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must be a kzoo.resnet of order 'classic'"):
        kzoo.load_torch_checkpoint(model, tmp_path / "twin.pt", layout="chenyaofo")


def test_number_of_classes_without_known_statistics_is_an_error(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(twin(20, 7).state_dict(), tmp_path / "twin.pt")
    with pytest.raises(ValueError, match="the model must have 10 or 100 classes, as published. Received: 7"):
        kzoo.import_checkpoint(tmp_path / "twin.pt", tmp_path / "m.weights.h5", model="resnet20", layout="chenyaofo")
    assert not (tmp_path / "m.weights.h5").exists()


def test_unknown_layout_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="one of akamaster, chenyaofo, pytorchcv. Received: layout='timm'"):
        kzoo.load_torch_checkpoint(kzoo.resnet(8), tmp_path / "twin.pt", layout="timm")


def test_flipped_byte_in_an_archive_names_the_tensor(tmp_path):
    torch = pytest.importorskip("torch")
    state = twin(8).state_dict()
    torch.save(state, tmp_path / "twin.pt")
    content = bytearray((tmp_path / "twin.pt").read_bytes())
    content[content.index(state[KERNEL].numpy().tobytes()) + 100] ^= 1
    (tmp_path / "twin.pt").write_bytes(content)
    with pytest.raises(ValueError, match=f"twin.pt is damaged: {KERNEL} has not the CRC-32"):
        kzoo.load_torch_checkpoint(kzoo.resnet(8, shortcut="projection"), tmp_path / "twin.pt", layout="chenyaofo")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("keep", [0, 10, 1000, 0.5, 0.99])
def test_truncated_checkpoint_is_an_error(tmp_path, keep, legacy):
    torch = pytest.importorskip("torch")
    path = tmp_path / "twin.pt"
    torch.save(twin(8).state_dict(), path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match="twin.pt must be a PyTorch checkpoint of tensors alone"):
        kzoo.load_torch_checkpoint(kzoo.resnet(8, shortcut="projection"), path, layout="chenyaofo")


def test_name_of_a_published_file_is_a_promise(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "cifar10_resnet8-00000000.pt"
    torch.save(twin(8).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = kzoo.resnet(8, shortcut="projection")
    with pytest.raises(
        ValueError, match=f"is damaged: it must have the SHA-256 00000000, by its name. Received: {digest}"
    ):
        kzoo.load_torch_checkpoint(model, path, layout="chenyaofo")
    true = shutil.copy(path, tmp_path / f"cifar10_resnet8-{digest[:8]}.pt")
    kzoo.load_torch_checkpoint(model, true, layout="chenyaofo")


class Malice:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


@pytest.mark.parametrize("kind", ["pickle", "older", "zip"])
def test_pickle_that_would_execute_code_is_refused(tmp_path, monkeypatch, kind):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    if kind == "pickle":
        Path("evil.pt").write_bytes(pickle.dumps({"conv1.weight": Malice()}))
    else:
        torch.save({"conv1.weight": Malice()}, "evil.pt", _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ValueError, match="evil.pt must be a PyTorch checkpoint of tensors alone. Received: "):
        kzoo.load_torch_checkpoint(kzoo.resnet(8), "evil.pt", layout="akamaster")
    assert not Path("executed").exists()


def test_packed_archive_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(twin(8).state_dict(), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(ValueError, match="packed.pt must be uncompressed, as PyTorch writes it. Received: .*data.pkl"):
        kzoo.load_torch_checkpoint(kzoo.resnet(8, shortcut="projection"), tmp_path / "packed.pt", layout="chenyaofo")


def test_checkpoint_that_does_not_exist_is_an_error(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(FileNotFoundError, match="Expected a PyTorch checkpoint. Received: .*none.pt"):
        kzoo.load_torch_checkpoint(kzoo.resnet(8), tmp_path / "none.pt", layout="akamaster")


def test_without_torch_the_error_says_what_to_install(tmp_path, monkeypatch):
    find = module.importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    (tmp_path / "twin.pt").touch()
    with pytest.raises(ImportError, match=r"needs PyTorch, whatever the backend: pip install 'kzoo\[torch\]'"):
        kzoo.load_torch_checkpoint(kzoo.resnet(8), tmp_path / "twin.pt", layout="akamaster")


def test_torch_that_is_too_old_is_refused(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(ImportError, match=r"safely needs PyTorch 2.10 or newer.*Received: 2.9.1"):
        module.require_torch()


@pytest.mark.shared
@pytest.mark.parametrize(("depth", "file"), [(20, "resnet20-12fca82f.th"), (56, "resnet56-4bfd9763.th")])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 5e-5), ("float64", 1e-9)])
def test_akamaster_checkpoint_gives_its_reference_logits(shared, depth, file, precision, tolerance):
    pytest.importorskip("torch")
    folder = shared / "weights" / "akamaster"
    kzoo.set_precision(precision)
    model = kzoo.resnet(depth)
    kzoo.load_torch_checkpoint(model, folder / file, layout="akamaster")
    with np.load(folder / "reference.npz") as reference:
        images, expected = reference["images"], reference[f"logits_resnet{depth}"]
    for plain_or_folded in (model, kzoo.fold_batch_norm(model)):
        logits = plain_or_folded.predict(images, verbose=0)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance)
