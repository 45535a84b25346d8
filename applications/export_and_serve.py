"""Trains on digits, exports, serves, asks over HTTP, compares with the trained model, and stops the server.

    KERAS_BACKEND=jax python applications/export_and_serve.py --python PATH_OF_A_PYTHON_WITH_TENSORFLOW

Serving needs the extra `serve`, exporting needs TensorFlow, in this environment or in the one of `--python`.
`--smoke` trains for two epochs, to see that all is well.
"""

import argparse
import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

import kzoo

START_SECONDS = 120


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to leave run and export; default: nowhere")
    parser.add_argument("--python", type=Path, help="interpreter that has TensorFlow; default: this one")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="two quick epochs")
    return parser.parse_args()


def train(directory: Path, epochs: int) -> tuple[kzoo.Run, kzoo.Dataset]:
    """Trains a small network on handwritten digits."""
    dataset = kzoo.load_dataset("digits", image_size=(16, 16))
    recipe = dataclasses.replace(kzoo.recipe("default"), epochs=epochs, learning_rate=0.05, patience=None)
    model = kzoo.resnet(8, input_shape=dataset.image_shape)
    kzoo.set_pixel_statistics(model, dataset, recipe)
    return kzoo.fit(model, dataset, recipe, run_dir=directory), dataset


@contextlib.contextmanager
def served(export: Path) -> Iterator[str]:
    """Runs `kzoo serve` on a free port, and stops it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "kzoo.cli", "serve", str(export), "--port", str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Waits for the server; raises if it ends or takes too long."""
    for _ in range(10 * START_SECONDS):
        if server.poll() is not None:
            raise RuntimeError(f"The server ended before it was ready, with exit status {server.returncode}.")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5):
            return
        time.sleep(0.1)
    raise TimeoutError(f"The server is not ready after {START_SECONDS} seconds.")


def ask(url: str, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Asks for the logits of images, by the V1 protocol."""
    body = json.dumps({"instances": images.tolist()}).encode()
    request = urllib.request.Request(f"{url}/v1/models/digits:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return np.array([row["logits"] for row in json.load(response)["predictions"]])


def main() -> None:
    """Does it all, and fails if the server answers differently from the model."""
    arguments = parse_arguments()
    with contextlib.ExitStack() as stack:
        out = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run, dataset = train(out / "run", 2 if arguments.smoke else arguments.epochs)
        exported = kzoo.export_saved(run.directory, out / "exports", name="digits", python=arguments.python)
        print(f"exported on {keras.backend.backend()}, read back by {exported.runtime}: {exported.directory}")

        images, labels = dataset.test.images[:100], dataset.test.labels[:100]
        expected = keras.ops.convert_to_numpy(run.load_model()(images, training=False))
        url = stack.enter_context(served(exported.directory))
        answers = np.concatenate([ask(url, images[start : start + 25]) for start in range(0, len(images), 25)])
        difference = np.abs(answers - expected).max() / np.abs(expected).max()
        print(f"{url}: top-1 {np.mean(answers.argmax(axis=1) == labels):.3f} of {len(images)} test images")
        print(f"largest difference from the model: {difference:.2g} of the largest logit")
        if not difference <= 1e-4:
            raise RuntimeError(f"The server must answer as the model, to 1e-4. Received: {difference:.2g}.")
    print("stopped")


if __name__ == "__main__":
    main()
