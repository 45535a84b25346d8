"""Presets on the hub: what is pushed is loaded again, pinned to a commit, and verified before anything opens it."""

import threading

import numpy as np
import pytest
from presets.hub_server import Hub

import kzoo
from kzoo.download import DownloadError
from kzoo.presets import HubName

constants = pytest.importorskip("huggingface_hub.constants", reason="needs huggingface_hub")

SIZE = (8, 8, 3)
NAME = "zoo-keepers/tiny"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def model():
    return kzoo.resnet(8, classes=2, seed=3, input_shape=SIZE)


@pytest.fixture(scope="module")
def preset(model, tmp_path_factory):
    return kzoo.save_preset(model, tmp_path_factory.mktemp("saved") / "preset", class_names=["a", "b"])


@pytest.fixture
def published(hub, preset):
    hub.publish(NAME, {path.name: path.read_bytes() for path in preset.iterdir()})
    return hub


def downloads(hub):
    return [path for path in hub.asked if "/resolve/" in path]


def test_what_is_pushed_is_loaded_again(hub, preset, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    name = kzoo.push_preset(preset, NAME)
    ((commit, files),) = hub.commits[NAME]
    assert name == f"hf://{NAME}@{commit}"
    assert files == {path.name: path.read_bytes() for path in preset.iterdir()}
    loaded = kzoo.load_preset(name)
    images = np.random.RandomState(0).randint(0, 256, (4, *SIZE)).astype("uint8")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    assert loaded.class_names == ("a", "b")
    assert kzoo.resnet(8, weights=f"hf://{NAME}").output_shape == (None, 2)


def test_push_without_a_token_says_what_to_do(hub, preset):
    with pytest.raises(ValueError, match="needs a token .* set HF_TOKEN, or run `hf auth login`. Received: none"):
        kzoo.push_preset(preset, NAME)
    assert hub.asked == []


def test_push_that_the_hub_refuses_is_told(hub, preset, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DownloadError, match=rf"hf://{NAME}@main must be within reach. Received: .*401"):
        kzoo.push_preset(preset, NAME)


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "../a", "a/..", "a b/c", "", "-a/b"])
def test_push_needs_a_name(preset, name):
    with pytest.raises(ValueError, match=r"hf://owner/name|`repository` must be"):
        kzoo.push_preset(preset, name)


@pytest.mark.parametrize("lfs", [False, True])
def test_commit_is_fetched_once(published, lfs):
    published.lfs = lfs
    ((commit, _),) = published.commits[NAME]
    first = kzoo.fetch_preset(f"hf://{NAME}")
    assert first.name == commit
    assert {path.name for path in first.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert not any(path.is_symlink() for path in first.iterdir())
    published.asked.clear()
    assert kzoo.fetch_preset(f"hf://{NAME}@{commit}") == first
    assert published.asked == []
    assert kzoo.fetch_preset(f"hf://{NAME}") == first
    assert downloads(published) == []


def test_branch_is_what_it_is_today_and_a_commit_what_it_was(published, tmp_path):
    ((commit, _),) = published.commits[NAME]
    kzoo.load_preset(f"hf://{NAME}")
    other = kzoo.save_preset(kzoo.resnet(8, classes=2, seed=4, input_shape=SIZE), tmp_path / "other")
    published.publish(NAME, {path.name: path.read_bytes() for path in other.iterdir()})
    assert kzoo.load_preset(f"hf://{NAME}").construction.arguments["seed"] == 4
    assert kzoo.load_preset(f"hf://{NAME}@{commit}").construction.arguments["seed"] == 3


def test_without_the_hub_the_last_visit_counts(published):
    ((commit, _),) = published.commits[NAME]
    kzoo.load_preset(f"hf://{NAME}")
    published.way = "is down"
    with pytest.warns(UserWarning, match=f"taken as it was at the last visit, commit {commit}"):
        assert kzoo.fetch_preset(f"hf://{NAME}").name == commit
    with pytest.raises(DownloadError, match="hf://zoo-keepers/other@main must be within reach"):
        kzoo.fetch_preset("hf://zoo-keepers/other")


@pytest.mark.parametrize("lfs", [False, True])
def test_file_of_another_hash_is_refused_before_it_is_opened(published, lfs, tmp_path):
    published.lfs, published.way = lfs, "damages"
    with pytest.raises(DownloadError, match=r"config.json must have the hash \w+. Received"):
        kzoo.load_preset(f"hf://{NAME}")
    assert [path for path in (tmp_path / "home").rglob("*") if path.name == "config.json"] == []


def test_repository_that_there_is_not_is_told(hub):
    with pytest.raises(DownloadError, match="hf://zoo-keepers/none@main must be within reach. Received: .*NotFound"):
        kzoo.load_preset("hf://zoo-keepers/none")


def test_repository_without_a_preset_is_told(hub):
    hub.publish(NAME, {"pytorch_model.bin": b"a pickle"})
    with pytest.raises(ValueError, match="must be a preset, with config.json and model.safetensors. Received: no conf"):
        kzoo.load_preset(f"hf://{NAME}")
    assert downloads(hub) == []


def test_hostile_preset_of_the_hub_is_refused_and_not_kept(hub, preset, tmp_path):
    files = {path.name: path.read_bytes() for path in preset.iterdir()}
    hub.publish(NAME, {**files, "config.json": files["config.json"].replace(b'"resnet"', b'"os.system"')})
    with pytest.raises(ValueError, match="'model.constructor' must be one of"):
        kzoo.load_preset(f"hf://{NAME}")
    assert [path for path in (tmp_path / "home").rglob("*") if path.name == "config.json"] == []


@pytest.mark.parametrize(
    "address", ["hf://", "hf://a", "hf://a/b/c", "hf://a/../b", "hf://a/b@", "hf://a/b@../c", "hf:///b", "hf://a/b@c d"]
)
def test_address_must_be_one(address):
    with pytest.raises(ValueError, match="must be hf://owner/name or hf://owner/name@revision. Received: "):
        kzoo.load_preset(address)


def test_address_has_a_revision():
    assert HubName.parse("hf://a/b") == HubName("a/b", "main")
    assert str(HubName.parse("hf://a/b@v1.0")) == "hf://a/b@v1.0"


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"need huggingface_hub: pip install 'kzoo\[hub\]'"):
        kzoo.load_preset("hf://a/b")
