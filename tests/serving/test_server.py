import base64
import concurrent.futures
import io
import json
import socket
import time

import keras
import numpy as np
import pytest
from needs import SERVER, skip_without
from PIL import Image

import kzoo

V1, V2 = "/v1/models/digits:predict", "/v2/models/digits/infer"


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def v2_tensor(images, **tensor):
    return {"inputs": [{"name": "image", "shape": images.shape, "datatype": "UINT8", **tensor}]}


def v2_logits(answer):
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs.keys() == {"logits", "probabilities", "class_index"}
    return np.reshape(outputs["logits"]["data"], outputs["logits"]["shape"])


@pytest.fixture(scope="module")
def expected(model, digits):
    return keras.ops.convert_to_numpy(model(digits.test.images[:64], training=False))


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("protocol", ["v1", "v1 files", "v2", "v2 binary"])
def test_answers_are_those_of_the_source(protocol, batch, server, digits, expected):
    images = digits.test.images[:batch]
    headers = {}
    if protocol == "v1":
        payload = {"instances": images.tolist()}
    elif protocol == "v1 files":
        payload = {"instances": [{"image_bytes": {"b64": base64.b64encode(png(image)).decode()}} for image in images]}
    elif protocol == "v2":
        payload = v2_tensor(images, data=images.ravel().tolist())
    else:
        head = json.dumps(v2_tensor(images, parameters={"binary_data_size": images.size})).encode()
        payload = head + images.tobytes()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    status, answer = server.post(V1 if protocol.startswith("v1") else V2, payload, headers)
    assert status == 200, answer
    if protocol.startswith("v1"):
        logits = np.array([row["logits"] for row in answer["predictions"]])
        assert [row["class_index"] for row in answer["predictions"]] == expected[:batch].argmax(axis=1).tolist()
    else:
        logits = v2_logits(answer)
    assert np.abs(logits - expected[:batch]).max() <= 1e-5 * np.abs(expected).max()


def test_readiness_and_metadata(server):
    assert server.request("GET", "/v2/health/ready") == (200, {"ready": True})
    assert server.request("GET", "/v1/models/digits")[1]["model_version_status"][0]["state"] == "AVAILABLE"
    status, metadata = server.request("GET", "/v2/models/digits")
    assert status == 200
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 16, 16, 3]}]
    assert server.request("GET", "/") == (200, {"status": "alive"})


def huge_png():
    file = io.BytesIO()
    Image.new("1", (10_000, 5_000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("path", "payload", "status", "message"),
    [
        (V1, {"instances": np.zeros((1, 8, 8, 3), int).tolist()}, 400, "Every image must be 16x16x3"),
        (V1, {"instances": np.full((1, 16, 16, 3), 0.5).tolist()}, 400, "Pixels must be integers"),
        (V1, b'{"instances": [[[[NaN, 0, 0]]]]}', 400, "The body must be JSON, which has no NaN."),
        (V1, {"instances": [{"b64": base64.b64encode(b"text").decode()}]}, 400, "Image 0 must be a JPEG or PNG file"),
        (V1, {"instances": [{"b64": huge_png()}]}, 400, "must have at most 20,000,000 pixels. Received: 10000x5000"),
        (V1, b" " * 100_000_000, 413, "The body must have at most 16,777,216 bytes."),
        (V1, b'{"instances": [[1, 2', 400, "The body must be JSON. Received: Expecting"),
        (V1, {"instances": np.zeros((129, 16, 16, 3), int).tolist()}, 400, "A request must hold 1 to 128 images"),
        ("/v1/models/letters:predict", {"instances": [1]}, 404, "Model with name letters does not exist."),
        (V2.replace("digits", "letters"), {"inputs": []}, 404, "Model with name letters does not exist."),
        (V2, v2_tensor(np.zeros((1, 8, 8, 3)), data=[0] * 192), 400, "Every image must be 16x16x3"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[0]), 400, "must hold what its datatype and shape say"),
        (V2, v2_tensor(np.zeros(1), datatype="FP32", data=[0.5]), 400, "Every image must be 16x16x3"),
        (
            V2,
            v2_tensor(np.zeros(1), datatype="INT64", data=[0]),
            400,
            "must have datatype UINT8 or FP32. Received: INT64",
        ),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[1.5] + [0] * 767), 400, "Received: float64 values"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[True] + [0] * 767), 400, "Received: bool values"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=["12"] * 768), 400, "something that is no number"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[256] + [0] * 767), 400, "Received: 0 to 256"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[-1] + [0] * 767), 400, "Received: -1 to 0"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[None] * 768), 400, "Pixels must be integers"),
        (V2, v2_tensor(np.zeros((1, 16, 16, 3)), data=[2**70] + [0] * 767), 400, "Pixels must be integers"),
        (
            V2,
            v2_tensor(np.zeros(1), datatype="PIXELS", data=[0]),
            400,
            "must have datatype UINT8 or FP32. Received: PIXELS",
        ),
        (V2, b'{"inputs": [', 400, "The body must be JSON. Received: Expecting"),
        (V2, {"inputs": []}, 400, "A request must have one input. Received: 0."),
        ("/v2/repository/models/digits/unload", {}, 403, "Models can be neither loaded nor unloaded over HTTP."),
        ("/nowhere", {}, 404, "Not Found"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_request_is_told_and_the_next_is_answered(path, payload, status, message, server, digits, expected):
    answered, content = server.post(path, payload)
    assert answered == status
    assert message in json.dumps(content, ensure_ascii=False)
    difference = server.logits(digits.test.images[:1]) - expected[:1]
    assert np.abs(difference).max() <= 1e-5 * np.abs(expected).max()


def test_answers_are_not_crossed(server, digits, expected):
    def ask(index):
        return np.abs(server.logits(digits.test.images[index : index + 1]) - expected[index]).max()

    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        differences = list(clients.map(ask, list(range(64)) * 3))
    assert max(differences) <= 1e-5 * np.abs(expected).max()


def test_only_this_machine_is_listened_to(server):
    with open("/proc/net/tcp") as file:
        listening = [line.split()[1] for line in file if f":{server.port:04X} " in line and " 0A " in line]
    assert listening == [f"0100007F:{server.port:04X}"]


def test_stop_finishes_what_has_begun(exported, run_server, digits, expected):
    with run_server(exported) as server:
        body = json.dumps({"instances": digits.test.images[:64].tolist()}).encode()
        kind = "Host: localhost\r\nContent-Type: application/json"
        head = f"POST {V1} HTTP/1.1\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode() + body[:1000])
            time.sleep(0.3)
            server.process.terminate()
            time.sleep(0.3)
            connection.sendall(body[1000:])
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    predictions = json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]
    assert [row["class_index"] for row in predictions] == expected.argmax(axis=1).tolist()
    assert server.process.returncode in (0, -15)
    assert "Traceback" not in server.output


@pytest.mark.parametrize(("deadline", "grace"), [(0.5, 6), (30, 35), (120.0, 125)])
def test_stop_waits_longer_than_any_deadline(deadline, grace):
    from kzoo.serving.server import grace_seconds

    assert grace_seconds(kzoo.serving.Limits(deadline_seconds=deadline)) == grace


@pytest.mark.parametrize("option", ["--max-batch", "--max-body-bytes", "--max-pixels"])
def test_limits_are_options(option, exported, run_server, digits):
    with run_server(exported, option, "1") as server:
        file = base64.b64encode(png(digits.test.images[0])).decode()
        status, answer = server.post(V1, {"instances": [{"b64": file}] * 2})
    assert status == (413 if option == "--max-body-bytes" else 400)
    assert " 1 " in answer["error"]


def test_serve_without_an_export_says_what_it_needs(tmp_path, free_port):
    skip_without(*SERVER)
    with pytest.raises(
        FileNotFoundError, match=r"Expected an export for servers, with card.json and saved_model.pb or "
    ):
        kzoo.serve(tmp_path, port=free_port)


def test_serve_without_its_packages_names_the_extra(tmp_path, monkeypatch, free_port):
    monkeypatch.setitem(__import__("sys").modules, "httptools", None)
    with pytest.raises(ImportError, match=r"Serving needs httptools. .* Install 'kzoo\[serve\]'."):
        kzoo.serve(tmp_path, port=free_port)


@pytest.mark.parametrize("port", [0, 65_536])
def test_port_that_is_none_is_told(port, tmp_path):
    with pytest.raises(ValueError, match=f"`port` must be between 1 and 65535. Received: port={port}."):
        kzoo.serve(tmp_path, port=port)
