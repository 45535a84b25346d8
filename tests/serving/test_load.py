"""The server under load from another process; `pytest -rP` shows what was measured."""

import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np

from kzoo.serving.runtime import load_export

REQUESTS = 2_000


def own_milliseconds(exported, image):
    """The model's own time for a batch of 1, without HTTP: the median of 200."""
    model = load_export(exported)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        model.predict(image)
        times.append(1e3 * (time.perf_counter() - start))
    return model.runtime, float(np.median(times))


def test_load_of_8_clients_is_answered_whole_and_uncrossed(server, exported, model, digits, tmp_path):
    images = digits.test.images
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    tolerance = 1e-5 * np.abs(expected).max()
    apart = np.abs(expected[:, None] - expected).max(axis=2) + np.eye(len(images))
    assert apart.min() > 10 * tolerance  # so an answer to another request is no answer to this one
    runtime, own = own_milliseconds(exported, images[:1])

    np.savez(tmp_path / "requests.npz", images=images)
    client = Path(__file__).with_name("load_client.py")
    files = [tmp_path / "requests.npz", tmp_path / "answers.npz"]
    command = [sys.executable, str(client), str(server.port), *map(str, files), str(REQUESTS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "answers.npz") as answers:
        seconds, logits, total = answers["seconds"], answers["logits"], float(answers["total_seconds"])

    assert len(logits) == REQUESTS
    assert np.abs(logits - expected[np.arange(REQUESTS) % len(images)]).max() <= tolerance
    p50, p99 = np.percentile(1e3 * seconds, [50, 99])
    print(
        f"{REQUESTS} requests, 8 clients: {REQUESTS / total:.0f} a second, p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
        f"{runtime} itself, batch 1: {own:.2f} ms, so {1e3 / own:.0f} a second one after another"
    )
