"""The server under load from another process; `pytest -rP` shows what was measured."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from needs import SERVER, skip_without
from tiny_exports import images_of, logits_of, write_export

from kzoo.serving.runtime import load_export

REQUESTS, AT_ONCE = 2_000, 1_500


def own_milliseconds(exported, image):
    """The model's own time for a batch of 1, without HTTP: the median of 200."""
    model = load_export(exported)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        model.predict(image)
        times.append(1e3 * (time.perf_counter() - start))
    return model.runtime, float(np.median(times))


def asked_by_client(server, model, images, folder, count, clients):
    """Asks from a process of its own; returns the seconds and logits of each request, and how long all took."""
    np.savez(folder / "requests.npz", images=images)
    client = Path(__file__).with_name("load_client.py")
    words = [server.port, model, folder / "requests.npz", folder / "answers.npz", count, clients]
    command = [sys.executable, str(client), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    with np.load(folder / "answers.npz") as file:
        return file["seconds"], file["logits"], float(file["total_seconds"])


def test_load_of_8_clients_is_answered_whole_and_uncrossed(server, exported, model, digits, tmp_path):
    images = digits.test.images
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    tolerance = 1e-5 * np.abs(expected).max()
    apart = np.abs(expected[:, None] - expected).max(axis=2) + np.eye(len(images))
    assert apart.min() > 10 * tolerance  # so an answer to another request is no answer to this one
    runtime, own = own_milliseconds(exported, images[:1])

    seconds, logits, total = asked_by_client(server, "digits", images, tmp_path, REQUESTS, 8)

    assert len(logits) == REQUESTS
    assert np.abs(logits - expected[np.arange(REQUESTS) % len(images)]).max() <= tolerance
    p50, p99 = np.percentile(1e3 * seconds, [50, 99])
    print(
        f"{REQUESTS} requests, 8 clients: {REQUESTS / total:.0f} a second, p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
        f"{runtime} itself, batch 1: {own:.2f} ms, so {1e3 / own:.0f} a second one after another"
    )


def change_versions(folder, server, changes):
    """Writes a version, and once it answers takes the one before away, some times over."""
    for version in range(1, changes + 1):
        write_export(folder, version=version + 1, scale=version % 2 + 1)
        while str(version + 1) not in server.request("GET", "/v2/models/tiny")[1]["versions"]:
            time.sleep(0.1)
        shutil.rmtree(folder / "tiny" / str(version))


def test_load_of_16_clients_is_answered_whole_and_uncrossed_while_versions_change(tmp_path, run_server):
    skip_without(*SERVER)
    images = images_of(32)
    write_export(tmp_path / "served", version=1, scale=1)
    found = []
    with run_server(tmp_path / "served", "--watch") as server, ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change_versions, tmp_path / "served", server, 3)
        while not changing.done():
            found.append(asked_by_client(server, "tiny", images, tmp_path, AT_ONCE, 16))
        changing.result()
        metrics = server.request("GET", "/metrics")[1].decode().splitlines()
    logits = np.concatenate([one for _, one, _ in found])
    assert len(logits) == len(found) * AT_ONCE
    ratios = logits / logits_of(images)[np.arange(len(logits)) % AT_ONCE % len(images)]
    apart = np.abs(ratios[..., None] - [1, 2]).max(axis=1)  # an answer is that of one version, to its own image
    assert apart.min(axis=1).max() < 1e-4
    assert set(apart.argmin(axis=1)) == {0, 1}
    assert f"kzoo_batch_images_sum {len(logits)}.0" in metrics
    p50, p99 = np.percentile(1e3 * np.concatenate([seconds for seconds, _, _ in found]), [50, 99])
    print(f"{len(logits)} requests, 16 clients, 3 changes of version: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
