import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import kzoo


@pytest.fixture(scope="session")
def digits():
    return kzoo.load_dataset("digits", image_size=(16, 16))


@pytest.fixture(scope="session")
def model(digits):
    """A network that has seen some digits, so that its answers differ."""
    from keras.losses import SparseCategoricalCrossentropy

    model = kzoo.resnet(8, input_shape=digits.image_shape, seed=1)
    model.compile(kzoo.SGD(0.05, 0.9), SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(digits.train.images, digits.train.labels, batch_size=64, epochs=3, shuffle=False, verbose=0)
    return model


@pytest.fixture(scope="session")
def exported(model, digits, tmp_path_factory):
    if missing := [name for name in ("kserve", "tensorflow") if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {' and '.join(missing)}: run by the serving-cpu environment")
    out = tmp_path_factory.mktemp("exports")
    images = digits.test.images
    return kzoo.export_model(
        model, out, name="digits", class_names=[f"digit {n}" for n in range(10)], images=images
    ).directory


@contextlib.contextmanager
def serving(directory, *options):
    """Runs `kzoo serve` in a process of its own, and ends it as an operator would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kzoo.cli", "serve", str(directory), "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    server = Server(process, port)
    try:
        server.wait()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            server.output = process.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise


class Server:
    """A client of the server, of nothing but sockets and JSON."""

    def __init__(self, process, port):
        self.process, self.port, self.output = process, port, ""

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stdout.read()
            with contextlib.suppress(OSError):
                if self.request("GET", "/v2/health/ready")[0] == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"the server is not ready after {seconds} s")

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        kind = response.headers.get("Content-Type", "")
        return response.status, json.loads(content) if "json" in kind else content

    def post(self, path, payload, headers=None):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.request("POST", path, body, headers)

    def logits(self, images, model="digits"):
        status, answer = self.post(f"/v1/models/{model}:predict", {"instances": images.tolist()})
        assert status == 200, answer
        return np.array([row["logits"] for row in answer["predictions"]])


@pytest.fixture(scope="session")
def server(exported):
    with serving(exported) as running:
        yield running


@pytest.fixture(scope="session")
def run_server():
    assert os.environ.get("KERAS_BACKEND")
    return serving
