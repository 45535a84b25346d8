import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from needs import SERVER, skip_without
from tiny_exports import write_export

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
    skip_without(*SERVER, "tensorflow")
    out = tmp_path_factory.mktemp("exports")
    images = digits.test.images
    return kzoo.export_model(
        model, out, name="digits", class_names=[f"digit {n}" for n in range(10)], images=images
    ).directory


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def free_port():
    return unused_port()


@contextlib.contextmanager
def serving(directory, *options, ready=True, **variables):
    """Runs `kzoo serve` in a process of its own, and ends it as an operator would."""
    port = unused_port()
    command = [sys.executable, "-m", "kzoo.cli", "serve", str(directory), "--port", str(port), *options]
    with tempfile.NamedTemporaryFile("w+") as log:  # a pipe that nobody reads is full after some hundred requests
        environment = {**os.environ, **variables}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment)
        server = Server(process, port, log)
        try:
            if ready:
                server.wait()
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            server.output = server.said()


class Server:
    """A client of the server, of nothing but sockets and JSON."""

    def __init__(self, process, port, log):
        self.process, self.port, self.log, self.output = process, port, log, ""

    def said(self):
        with open(self.log.name) as log:
            return log.read()

    def wait(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.said()
            with contextlib.suppress(OSError):
                if self.request("GET", "/v2/health/ready")[0] == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"the server is not ready after {seconds} s")

    def request(self, method, path, body=None, headers=None):
        status, headers, content = self.whole(method, path, body, headers)
        return status, json.loads(content) if "json" in headers.get("Content-Type", "") else content

    def whole(self, method, path, body=None, headers=None):
        """Returns status, headers and bytes of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return response.status, response.headers, content

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


@pytest.fixture(scope="session")
def tiny_exports(tmp_path_factory):
    """A folder of two models, one of them in two versions."""
    skip_without(*SERVER)
    folder = tmp_path_factory.mktemp("tiny")
    for name, version, scale in (("tiny", 1, 1.0), ("tiny", 12, 2.0), ("other", 3, 3.0)):
        write_export(folder, name, version, scale=scale)
    return folder


@pytest.fixture(scope="session")
def tiny_server(tiny_exports):
    with serving(tiny_exports, "--log-format", "json") as running:
        yield running
