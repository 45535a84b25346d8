import concurrent.futures
import dataclasses
import hashlib
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import kzoo
from kzoo import download
from kzoo.cli.app import app
from kzoo.data.published import CIFAR10_CLASSES
from kzoo.download import DownloadError
from kzoo.presets import HubName, PresetInfo, find_weights, registry
from kzoo.presets.cache import presets_folder
from kzoo.presets.construction import Construction

CHECKPOINT = "resnet20-12fca82f.th"
NATIVE = "tiny"  # registered by the fixture of that name


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "_BACKOFF_SECONDS", 0.01)
    return tmp_path / "home" / "presets"


class Server(http.server.ThreadingHTTPServer):
    """Serves one content at any path, in the way that a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.way = "whole"
        self.requests = 0
        self.url = f"http://127.0.0.1:{self.server_port}/file"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, content = self.server, self.server.content
        server.requests += 1
        if server.way == "redirects" and self.path != "/there":
            self.send_response(302)
            self.send_header("Location", "/there")
            self.end_headers()
            return
        self.send_response(server.way if isinstance(server.way, int) else 200)
        self.send_header("Content-Length", str(len(content) + (server.way == "lies about the size")))
        self.end_headers()
        if server.way in ("truncates", "stalls"):
            self.wfile.write(content[:1000])
            time.sleep(0.3 if server.way == "stalls" else 0)
        elif server.way == "sends something else":
            self.wfile.write(content[::-1])
        elif not isinstance(server.way, int):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def register(monkeypatch, entry):
    monkeypatch.setitem(registry._REGISTRY, entry.name, entry)
    return entry


@pytest.fixture
def tiny(server, tmp_path, monkeypatch):
    """A published weights file of a network of depth 8, for three classes."""
    path = tmp_path / "published.weights.h5"
    kzoo.save_weights(kzoo.resnet(8, classes=3, seed=1), path)
    server.content = path.read_bytes()
    published = dataclasses.replace(
        kzoo.preset_info("akamaster_resnet20"),
        name=NATIVE,
        model="resnet8",
        construction=Construction.of("resnet", 8, classes=3),
        class_names=("cat", "dog", "eel"),
        file="tiny.weights.h5",
        url=server.url,
        sha256=hashlib.sha256(server.content).hexdigest(),
        size_bytes=len(server.content),
        layout=None,
    )
    return register(monkeypatch, published)


@pytest.fixture
def akamaster(server, shared, monkeypatch):
    """The registered ResNet-20, published by the local server."""
    server.content = (shared / "weights" / "akamaster" / CHECKPOINT).read_bytes()
    return register(monkeypatch, dataclasses.replace(kzoo.preset_info("akamaster_resnet20"), url=server.url))


def build(**arguments):
    return kzoo.resnet(8, weights=NATIVE, **{"classes": 3} | arguments)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("depth", "sha256", "top1"),
    [(20, "12fca82f", 0.9173), (32, "d509ac18", 0.9263), (44, "014dd654", 0.9310), (56, "4bfd9763", 0.9339),
     (110, "1d1ed7c2", 0.9368)],
)  # fmt: skip
def test_akamaster_entries_are_those_published(depth, sha256, top1):
    entry = kzoo.preset_info(f"akamaster_resnet{depth}")
    assert entry.model in kzoo.list_models()
    assert entry.sha256.startswith(sha256)
    assert entry.top1 == top1
    assert entry.url == (
        f"https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/resnet{depth}-{sha256}.th"
    )


@pytest.mark.parametrize(
    ("data", "depth", "sha256", "top1"),
    [("cifar10", 20, "4118986f", 0.926), ("cifar10", 32, "ef93fc4d", 0.9353), ("cifar10", 44, "2a3cabcb", 0.9401),
     ("cifar10", 56, "187c023a", 0.9437), ("cifar100", 20, "23dac2f1", 0.6883), ("cifar100", 32, "84213ce6", 0.7016),
     ("cifar100", 44, "ffe32858", 0.7163), ("cifar100", 56, "f2eff4c8", 0.7263)],
)  # fmt: skip
def test_chenyaofo_entries_are_those_published(data, depth, sha256, top1):
    entry = kzoo.preset_info(f"chenyaofo_{data}_resnet{depth}")
    assert entry.top1 == top1
    assert entry.classes == len(set(entry.class_names)) == {"cifar10": 10, "cifar100": 100}[data]
    assert entry.construction.form["shortcut"] == "projection"
    assert entry.url == (
        f"https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet/{data}_resnet{depth}-{sha256}.pt"
    )


@pytest.mark.shared
@pytest.mark.parametrize("depth", [20, 56])
def test_whole_sha256_and_size_are_those_of_the_files(shared, depth):
    entry = kzoo.preset_info(f"akamaster_resnet{depth}")
    path = shared / "weights" / "akamaster" / entry.file
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry.size_bytes == path.stat().st_size


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Received: weights='akamaster-resnet20'. Did you mean 'akamaster_resnet20'"):
        kzoo.resnet20(weights="akamaster-resnet20")


@pytest.mark.parametrize("way", ["whole", "redirects"])
def test_weights_by_name_are_fetched_once(tiny, server, way):
    server.way = way
    first = build()
    requests = server.requests
    assert same(first, kzoo.resnet(8, classes=3, seed=1))
    assert same(build(), first)
    assert server.requests == requests


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("truncates", "closed after|bytes"),
        ("stalls", "closed after|timed out"),
        ("lies about the size", r"a file of \d+ bytes instead of \d+"),
        ("sends something else", "must have the SHA-256"),
        (404, "HTTP status 404"),
        (500, "HTTP status 500 .*after 2 attempts"),
    ],
)
def test_server_that_misbehaves_is_named_with_what_to_do(tiny, server, home, monkeypatch, way, message):
    monkeypatch.setattr(download, "_ATTEMPTS", 2)
    server.way = way
    with pytest.raises(DownloadError, match=rf"(?s){message}.*put it in place with `kzoo preset add FILE`"):
        build()
    assert not (home / tiny.file).exists()


def test_without_network_the_error_says_how_to_put_the_file_in_place(tiny, server, home, tmp_path, monkeypatch):
    register(monkeypatch, dataclasses.replace(tiny, url="http://host.invalid/tiny.weights.h5"))
    with pytest.raises(DownloadError, match=r"host\.invalid.*put it in place with `kzoo preset add FILE`"):
        build()
    (tmp_path / "by hand").write_bytes(server.content)
    assert kzoo.add_preset(tmp_path / "by hand") == NATIVE
    assert same(build(), kzoo.resnet(8, classes=3, seed=1))
    assert {path.name for path in home.iterdir() if not path.name.endswith(".part")} == {tiny.file, NATIVE}


def test_file_that_is_not_registered_is_not_added(tiny, server, home, tmp_path):
    (tmp_path / "by hand").write_bytes(server.content[:-1])
    with pytest.raises(ValueError, match=r"by its SHA-256, one of resnet20-12fca82f\.th.*Received: .*by hand"):
        kzoo.add_preset(tmp_path / "by hand")
    with pytest.raises(FileNotFoundError, match="Expected a file of a published preset. Received: .*none"):
        kzoo.add_preset(tmp_path / "none")
    assert not home.exists()


def damage(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def test_cached_preset_is_verified_every_time(tiny, server, home):
    build()
    damage(home / NATIVE / "model.safetensors")
    with pytest.raises(
        ValueError, match=rf"model.safetensors must be .* Received: .* Delete .*{NATIVE}, and it is made"
    ):
        build()
    shutil.rmtree(home / NATIVE)
    assert same(build(), kzoo.resnet(8, classes=3, seed=1))


def test_published_weights_become_a_preset_with_all_that_is_known(tiny, home):
    build()
    model = kzoo.load_preset(home / NATIVE)
    assert same(model, kzoo.resnet(8, classes=3, seed=1))
    assert model.class_names == ("cat", "dog", "eel")
    card = (home / NATIVE / "README.md").read_text()
    assert "top-1 0.9173" in card
    assert 'license: "bsd-2-clause"' in card


def test_preset_in_the_package_is_found_by_its_data(server, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    monkeypatch.setattr("kzoo.presets.cache.PRETRAINED", tmp_path)
    published = kzoo.resnet(8, classes=3, seed=1, input_shape=(8, 8, 3))
    about = {"test": {"accuracy": 0.75}}
    kzoo.save_preset(published, tmp_path / "letters" / "resnet8", class_names=list("abc"), about=about)
    assert kzoo.list_presets()[0] == "letters/resnet8"
    assert kzoo.preset_info("letters/resnet8").top1 == 0.75
    for found in (kzoo.resnet(8, weights="letters"), kzoo.load_preset("letters/resnet8")):
        assert same(found, published)
        assert found.input_shape == (None, 8, 8, 3)
        assert found.class_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="weights='letters', which there are for resnet8"):
        kzoo.resnet20(weights="letters")
    damage(tmp_path / "letters" / "resnet8" / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors must be .* Received:"):
        kzoo.resnet(8, weights="letters")
    assert server.requests == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"classes": 10},
            "`classes` must be 3, as of the weights 'tiny'; or `include_top=False`. Received: classes=10",
        ),
        ({"shortcut": "none"}, "are for resnet8, with shortcut='pad'. Received: shortcut='none'"),
        ({"order": "additive"}, "with order='classic'. Received: order='additive'"),
        ({"normalization": None}, "with normalization='batch'. Received: normalization=None"),
        ({"input_shape": (32, 32, 1)}, r"'resnet8': normalization/mean must have shape \(1,\). Received: \(3,\)"),
    ],
)
def test_weights_of_another_model_are_an_error(tiny, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_weights_of_another_depth_are_an_error(tiny):
    with pytest.raises(ValueError, match="are for resnet8, with depth=8. Received: depth=14"):
        kzoo.resnet(14, weights=NATIVE, classes=3)


def test_other_classes_than_those_of_a_file_are_an_error(tmp_path):
    kzoo.save_weights(kzoo.resnet(8), tmp_path / "m.weights.h5")
    with pytest.raises(
        ValueError, match=r"dense/vars/0 \(of 'classifier'\) must have shape \(64, 3\). Received: \(64, 10\)"
    ):
        kzoo.resnet(8, weights=tmp_path / "m.weights.h5", classes=3)


@pytest.mark.parametrize("arguments", [{}, {"classes": 7}, {"pooling": "avg"}, {"pooling": "max"}, {"dropout": 0.1}])
def test_weights_without_the_top_are_those_of_the_features(tiny, arguments):
    features = build(include_top=False, **arguments)
    whole = kzoo.resnet(8, classes=3, seed=1)
    for layer in ("normalization", "stem_conv", "stage3_block1_norm2"):
        for a, b in zip(features.get_layer(layer).get_weights(), whole.get_layer(layer).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_without_preprocessing_leave_the_normalization_out(tiny):
    model = build(include_preprocessing=False)
    whole = kzoo.resnet(8, classes=3, seed=1)
    np.testing.assert_array_equal(model.get_layer("stem_conv").kernel, whole.get_layer("stem_conv").kernel)


def test_weights_may_be_trained_on_with_dropout(tiny):
    model = build(dropout=0.1)
    whole = kzoo.resnet(8, classes=3, seed=1)
    np.testing.assert_array_equal(model.get_layer("classifier").kernel, whole.get_layer("classifier").kernel)


@pytest.mark.shared
def test_checkpoint_is_converted_once_and_then_needs_no_checkpoint(akamaster, server, shared, home):
    pytest.importorskip("torch")
    model = kzoo.resnet20(weights="akamaster_resnet20")
    with np.load(shared / "weights" / "akamaster" / "reference.npz") as reference:
        logits = model.predict(reference["images"], verbose=0)
        np.testing.assert_allclose(logits, reference["logits_resnet20"], rtol=0, atol=5e-5)
    (home / CHECKPOINT).unlink()
    assert same(kzoo.resnet20(weights="akamaster_resnet20"), model)
    assert server.requests == 1


@pytest.mark.shared
def test_two_conversions_at_once_leave_one_file(akamaster, home):
    pytest.importorskip("torch")
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        results = [threads.submit(kzoo.fetch_preset, "akamaster_resnet20") for _ in range(2)]
    first, second = (result.result() for result in results)
    assert first == second
    assert sorted(path.name for path in home.iterdir()) == sorted([first.name, CHECKPOINT])


@pytest.mark.shared
def test_checkpoint_put_in_place_by_hand_is_converted(akamaster, server, shared, tmp_path):
    pytest.importorskip("torch")
    copy = shutil.copy(shared / "weights" / "akamaster" / CHECKPOINT, tmp_path / "by hand")
    assert kzoo.add_preset(copy) == "akamaster_resnet20"
    assert (kzoo.fetch_preset("akamaster_resnet20") / "config.json").is_file()
    assert server.requests == 0


def test_without_torch_nothing_is_downloaded(home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'kzoo\[torch\]'"):
        kzoo.resnet20(weights="akamaster_resnet20")
    assert not home.exists()


def test_command_line_fetches_and_adds_weights(tiny, home, tmp_path):
    fetched = CliRunner().invoke(app, ["preset", "fetch", NATIVE])
    assert fetched.stdout.strip() == str(home / NATIVE)
    added = CliRunner().invoke(app, ["preset", "add", str(tmp_path / "published.weights.h5"), "--json"])
    assert json.loads(added.output) == {"name": NATIVE}
    info = json.loads(CliRunner().invoke(app, ["preset", "info", NATIVE, "--json"]).output)
    assert info["folder"] == str(home / NATIVE)
    assert info["sha256_known"] == "whole"


@pytest.mark.parametrize("form", [str, Path])
def test_a_name_is_a_name_in_any_form(tiny, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(find_weights(form("tiny"), "resnet8"), PresetInfo)
    assert find_weights(form("tiny.weights.h5"), "resnet8") == Path("tiny.weights.h5")
    with pytest.raises(ValueError, match="Did you mean 'tiny'"):
        find_weights(form("tinny"), "resnet8")
    Path("tinny").mkdir()
    assert find_weights(form("tinny"), "resnet8") == Path("tinny")
    Path("tiny").mkdir()
    assert isinstance(find_weights(form("tiny"), "resnet8"), PresetInfo)
    assert find_weights("./tiny", "resnet8") == Path("tiny")
    assert find_weights("hf://a/b@c", "resnet8") == HubName("a/b", "c")


def test_saved_model_is_evaluated_by_the_name_of_its_weights(monkeypatch):
    given = []
    monkeypatch.setattr(
        "kzoo.experiment.create_model", lambda name, **form: given.append(form["weights"]) or kzoo.resnet(8)
    )
    kzoo.evaluate_saved(model="resnet20", weights="akamaster_resnet20", dataset=kzoo.load_dataset("digits"))
    assert given == ["akamaster_resnet20"]


def test_no_home_is_needed_to_tell_what_is_there(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "KZOO_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert kzoo.cached_preset("akamaster_resnet20") is None
    with pytest.raises(FileNotFoundError, match="KZOO_HOME must be set where there is no home folder"):
        presets_folder()


def test_predictions_are_decoded_by_the_names_of_the_weights(tiny):
    logits = np.log([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]])
    first, second = kzoo.decode_predictions(logits, top=2, class_names="tiny")
    assert [name for name, _ in first] == ["dog", "eel"]
    np.testing.assert_allclose([probability for _, probability in first], [0.7, 0.2])
    assert [name for name, _ in second] == ["cat", "dog"]
    assert [name for name, _ in kzoo.decode_predictions(logits, class_names=["a", "b", "c"])[1]] == ["a", "b", "c"]


def test_cifar10_logits_are_decoded_by_the_names_of_their_weights():
    decoded = kzoo.decode_predictions(np.eye(10) * 9, np.int64(5), class_names="akamaster_resnet20")
    assert [row[0][0] for row in decoded] == list(CIFAR10_CLASSES)
    assert [len(row) for row in decoded] == [5] * 10


@pytest.mark.parametrize("from_logits", [None, False])
def test_probabilities_are_decoded_as_they_are(from_logits):
    probabilities = np.float32([[0.1, 0.7, 0.2], [0, 1, 0]])
    first, second = kzoo.decode_predictions(probabilities, top=1, class_names=list("abc"), from_logits=from_logits)
    assert first == [("b", pytest.approx(0.7))]
    assert second == [("b", pytest.approx(1))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictions": np.zeros(10)}, r"must be finite, of shape \(images, classes\). Received: shape=\(10,\)"),
        ({"predictions": np.full((1, 10), np.nan)}, "`predictions` must be finite"),
        ({"predictions": np.zeros((1, 10)), "top": 0}, "`top` must be at least 1. Received: top=0"),
        ({"predictions": np.zeros((1, 10)), "top": True}, "`top` must be an integer. Received: top=True"),
        ({"predictions": np.zeros((1, 10))}, "must be the names of the 10 classes, or what knows them"),
        (
            {"predictions": np.zeros((1, 7)), "class_names": ["a"]},
            "`class_names` must be 7 strings, one a class. Received: class_names=",
        ),
        (
            {"predictions": np.zeros((1, 7)), "class_names": "akamaster_resnet20"},
            "`class_names` must be 7 strings, one a class. Received: class_names=",
        ),
        ({"predictions": np.zeros((1, 7)), "class_names": "other"}, "`name` must be that of a preset, one of"),
    ],
)
def test_predictions_that_cannot_be_decoded_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        kzoo.decode_predictions(**arguments)
