"""What clients of TensorFlow Serving, Triton and KServe send, and curl; on exports that are made without TensorFlow."""

import base64
import json
import subprocess
import time

import numpy as np
import pytest
from tiny_exports import CLASSES, SIZE, images_of, logits_of, png

V1, V2 = "/v1/models/tiny:predict", "/v2/models/tiny/infer"
IMAGES = images_of(3)
FILES = [png(image) for image in IMAGES]


def b64(data):
    return base64.b64encode(data).decode()


def close(logits, scale=2.0, images=IMAGES):
    np.testing.assert_allclose(logits, logits_of(images, scale), rtol=1e-4)


@pytest.fixture(scope="module")
def triton(tiny_server):
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(f"127.0.0.1:{tiny_server.port}")
    yield client
    client.close()


# V1: https://www.tensorflow.org/tfx/serving/api_rest


@pytest.mark.parametrize(
    "payload",
    [
        {"instances": IMAGES.tolist()},
        {"instances": [{"image": image} for image in IMAGES.tolist()], "signature_name": "serving_default"},
        {"instances": [{"b64": b64(file)} for file in FILES]},
        {"instances": [{"image_bytes": {"b64": b64(file)}} for file in FILES], "signature_name": "encoded_images"},
        {"instances": IMAGES.astype(float).tolist(), "signature_name": "float_images"},
    ],
    ids=lambda payload: str(payload)[:60],
)
def test_v1_rows_are_answered(payload, tiny_server):
    status, answer = tiny_server.post(V1, payload)
    assert status == 200, answer
    close([row["logits"] for row in answer["predictions"]])
    assert [row["class_index"] for row in answer["predictions"]] == logits_of(IMAGES).argmax(axis=1).tolist()


@pytest.mark.parametrize(
    "inputs",
    [
        IMAGES.tolist(),
        {"image": IMAGES.tolist()},
        {"image_bytes": [{"b64": b64(file)} for file in FILES]},
    ],
    ids=["bare", "image", "image_bytes"],
)
def test_v1_columns_are_answered_by_columns(inputs, tiny_server):
    status, answer = tiny_server.post(V1, {"inputs": inputs})
    assert status == 200, answer
    assert answer["outputs"].keys() == {"logits", "probabilities", "class_index"}
    close(answer["outputs"]["logits"])


def test_v1_fractions_are_answered_where_floats_are_asked_for(tiny_server):
    images = IMAGES / 3
    payload = {"instances": images.tolist(), "signature_name": "float_images"}
    status, answer = tiny_server.post(V1, payload)
    assert status == 200, answer
    close([row["logits"] for row in answer["predictions"]], images=images)


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        (V1, {"instances": [{"image": image} for image in images_of(128).tolist()]}),
        (
            V2,
            {
                "inputs": [
                    {"name": "image", "shape": [128, *SIZE, 3], "datatype": "UINT8", "data": images_of(128).tolist()}
                ]
            },
        ),
    ],
    ids=["V1", "V2"],
)
def test_lists_are_as_many_as_the_largest_request_needs(path, payload, tiny_server):
    assert tiny_server.post(path, payload)[0] == 200


def test_v1_version_is_asked_by_its_number(tiny_server):
    for version, scale in ((1, 1.0), (12, 2.0)):
        path = f"/v1/models/tiny/versions/{version}:predict"
        status, answer = tiny_server.post(path, {"instances": IMAGES.tolist()})
        assert status == 200, answer
        close([row["logits"] for row in answer["predictions"]], scale)
    status, answer = tiny_server.post("/v1/models/tiny/versions/2:predict", {"instances": IMAGES.tolist()})
    assert (status, answer["error"]) == (404, "Model tiny must be asked by one of its versions 1, 12. Received: '2'.")


def test_v1_states_are_those_of_tensorflow_serving(tiny_server):
    status, answer = tiny_server.request("GET", "/v1/models/tiny")
    available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    states = [{"version": "12", **available}, {"version": "1", **available}]
    assert (status, answer) == (200, {"model_version_status": states})
    assert tiny_server.request("GET", "/v1/models/tiny/versions/1")[1] == {"model_version_status": states[1:]}
    assert tiny_server.request("GET", "/v1/models/none")[0] == 404


def test_v1_metadata_names_every_signature(tiny_server):
    status, answer = tiny_server.request("GET", "/v1/models/tiny/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "tiny", "signature_name": "", "version": "12"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == {"serving_default", "float_images", "encoded_images"}
    image = signatures["serving_default"]["inputs"]["image"]
    assert image["dtype"] == "DT_UINT8"
    assert [int(dim["size"]) for dim in image["tensor_shape"]["dim"]] == [-1, *SIZE, 3]


# V2, by Triton's client


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_v2_pixels_are_answered_in_every_form(binary, answers, datatype, triton):
    from tritonclient import http

    given = http.InferInput("image", list(IMAGES.shape), datatype)
    given.set_data_from_numpy(IMAGES if datatype == "UINT8" else IMAGES.astype(np.float32), binary_data=binary)
    outputs = [http.InferRequestedOutput("logits", binary_data=answers)]
    answer = triton.infer("tiny", [given], outputs=outputs, request_id="a-1")
    close(answer.as_numpy("logits"))
    assert answer.as_numpy("probabilities") is None
    said = answer.get_response()
    assert (said["id"], said["model_version"], len(said["outputs"])) == ("a-1", "12", 1)


def test_v2_files_are_answered(triton):
    from tritonclient import http

    given = http.InferInput("image_bytes", [3], "BYTES")
    given.set_data_from_numpy(np.array(FILES, object))
    answer = triton.infer("tiny", [given], model_version="1")
    close(answer.as_numpy("logits"), 1.0)
    assert answer.as_numpy("class_index").dtype == np.int64


def test_v2_files_as_text_are_answered(triton):
    from tritonclient import http

    given = http.InferInput("image_bytes", [3], "BYTES")
    given.set_data_from_numpy(np.array([b64(file) for file in FILES], object), binary_data=False)
    close(triton.infer("tiny", [given]).as_numpy("logits"))


def test_v2_classification_names_the_classes(triton):
    from tritonclient import http

    given = http.InferInput("image", list(IMAGES.shape), "UINT8")
    given.set_data_from_numpy(IMAGES)
    for binary in (True, False):
        wanted = http.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)
        rows = triton.infer("tiny", [given], outputs=[wanted]).as_numpy("probabilities")
        assert rows.shape == (3, 2)
        first = [text.decode() if isinstance(text, bytes) else text for text in rows[:, 0]]
        best = logits_of(IMAGES).argmax(axis=1)
        assert [text.split(":")[1:] for text in first] == [[str(index), CLASSES[index]] for index in best]


def test_v2_health_and_metadata(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("tiny")
    assert triton.is_model_ready("tiny", "1")
    assert not triton.is_model_ready("tiny", "2")
    metadata = triton.get_model_metadata("tiny")
    assert metadata["versions"] == ["1", "12"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, *SIZE, 3]}]
    assert metadata["parameters"]["class_names"] == list(CLASSES)
    assert {one["name"]: one["shape"] for one in metadata["outputs"]} == {
        "logits": [-1, 3],
        "probabilities": [-1, 3],
        "class_index": [-1],
    }
    assert triton.get_server_metadata()["name"] == "kzoo"
    assert triton.get_model_config("tiny")["max_batch_size"] == 128
    index = [(one["name"], one["version"], one["state"]) for one in triton.get_model_repository_index()]
    assert index == [("other", "3", "READY"), ("tiny", "1", "READY"), ("tiny", "12", "READY")]


def test_v2_timeout_of_triton_is_taken(triton):
    from tritonclient import http

    given = http.InferInput("image", list(IMAGES.shape), "UINT8")
    given.set_data_from_numpy(IMAGES)
    close(triton.infer("tiny", [given], timeout=5_000_000).as_numpy("logits"))
    close(triton.infer("tiny", [given], timeout=2**64 - 1).as_numpy("logits"))
    with pytest.raises(Exception, match="The answer was not ready within 1e-06 seconds"):
        triton.infer("tiny", [given], timeout=1)


def image_tensor(**changes):
    return {"name": "image", "shape": list(IMAGES.shape), "datatype": "UINT8", "data": IMAGES.tolist(), **changes}


def with_binary(content, *, size=None, head=None, name="image_bytes", datatype="BYTES", shape=(1,)):
    size = len(content) if size is None else size
    tensor = {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": size}}
    said = json.dumps({"inputs": [tensor]}).encode()
    length = str(len(said)) if head is None else head
    return said + content, {"Inference-Header-Content-Length": length}


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (*with_binary(b"\xff\xff\xff\xff12"), "must hold 1 items, each after its length. Item 0 does not."),
        (*with_binary(b"\x01\0"), "must hold 1 items, each after its length. Item 0 does not."),
        (*with_binary(b"\x01\0\0\x00ab"), "must hold 1 items. Received: 1 bytes more."),
        (*with_binary(b"ab", size=9), 'must have a "binary_data_size" of what follows. Received: 9'),
        (*with_binary(b"ab", size=-1), 'must have a "binary_data_size" of what follows. Received: -1'),
        (*with_binary(b"ab", size=True), 'must have a "binary_data_size" of what follows. Received: True'),
        (*with_binary(b"ab", size=1), "must hold 1 items, each after its length"),
        (*with_binary(b"ab", head="99999"), "Inference-Header-Content-Length must be at most the body's"),
        (*with_binary(b"ab", head="-1"), "Inference-Header-Content-Length must be at most the body's"),
        (*with_binary(b"ab", head="x"), "Inference-Header-Content-Length must be at most the body's"),
        (*with_binary(b"ab", name="image", datatype="UINT8", shape=(1, *SIZE, 3)), "60 bytes. Received: 2."),
        (*with_binary(b"ab", shape=(2**31,)), "must have a shape of integers"),
        (*with_binary(b"ab", shape=(2**30,)), "must have at most"),
        (b'{"inputs": [', {}, "The body must be JSON. Received: Expecting value at byte 12."),
        (b"[" * 5_000, {}, "The body must be JSON that is not nested that deep."),
        (b'{"a":' * 5_000, {}, "The body must be JSON that is not nested that deep."),
        (b'{"inputs": [' + b"{}," * 8000, {}, "JSON of at most 7,912 lists and objects. Received: 8,002."),
        (b'{"inputs": ' + b"9" * 5000 + b"}", {}, "numbers of at most 4,300 digits"),
        (b'{"inputs": "\xff"}', {}, "The body must be JSON in UTF-8."),
        (b"[]", {}, 'The body must be a JSON object with a list of "inputs".'),
        (json.dumps({"inputs": 3}).encode(), {}, "A request must have one input. Received: no list."),
        (json.dumps({"inputs": [image_tensor()] * 2}).encode(), {}, "A request must have one input. Received: 2."),
        (json.dumps({"inputs": [3]}).encode(), {}, "An input must be an object"),
        (json.dumps({"inputs": [image_tensor(shape=None)]}).encode(), {}, 'must have a "shape"'),
        (json.dumps({"inputs": [image_tensor(name="pixels")]}).encode(), {}, "The input must be named"),
        (json.dumps({"inputs": [image_tensor(name=["image"])]}).encode(), {}, "The input must be named"),
        (json.dumps({"inputs": [image_tensor(datatype=["UINT8"])]}).encode(), {}, "must have datatype UINT8 or FP32"),
        (json.dumps({"inputs": [image_tensor(data={})]}).encode(), {}, "180 values. Received: 0."),
        (json.dumps({"inputs": [image_tensor(data=["a"] * 180)]}).encode(), {}, "something that is no number"),
        (
            json.dumps({"inputs": [image_tensor()], "outputs": [{"name": "scores"}]}).encode(),
            {},
            "An output must be one of logits, probabilities, class_index. Received: 'scores'.",
        ),
        (json.dumps({"inputs": [image_tensor()], "outputs": 3}).encode(), {}, '"outputs" must be a list of objects'),
        (json.dumps({"inputs": [image_tensor()], "parameters": 3}).encode(), {}, '"parameters" must be an object'),
        *[
            (
                json.dumps({"inputs": [image_tensor()], "parameters": {"timeout": timeout}}).encode(),
                {},
                f'"timeout" must be in microseconds, an integer from 0 to 2^64 - 1. Received: {str(timeout)[:40]}',
            )
            for timeout in (-1, 2**64, 10**400, 1.5)
        ],
        (
            json.dumps(
                {
                    "inputs": [image_tensor()],
                    "outputs": [{"name": "class_index", "parameters": {"classification": 1}}],
                }
            ).encode(),
            {},
            '"classification" must be 1 or larger, of an output of classes',
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_v2_says_what_is_wrong_and_never_repeats_the_body(body, headers, message, tiny_server):
    status, answer = tiny_server.post(V2, body, headers)
    assert status == 400
    assert message in answer["error"]
    assert len(answer["error"]) < 300


def test_v2_damaged_file_is_told_without_its_content(tiny_server):
    secret = b"secret of the client " * 20
    body, headers = with_binary(len(secret).to_bytes(4, "little") + secret)
    status, answer = tiny_server.post(V2, body, headers)
    assert (status, answer["error"]) == (400, "Image 0 must be a JPEG or PNG file. Received: 420 other bytes.")


# What both share


def logged(server, request_id):
    """Returns the line of the log about a request; it is written once the answer is sent."""
    for _ in range(100):
        lines = [json.loads(line) for line in server.said().splitlines() if line.endswith("}")]
        if found := [line for line in lines if line.get("request_id") == request_id]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("not logged")


def test_request_id_comes_back_and_is_logged(tiny_server):
    headers = {"X-Request-ID": "of-the-client/1"}
    status, answered, _ = tiny_server.whole("POST", V1, json.dumps({"instances": IMAGES.tolist()}), headers)
    assert (status, answered["X-Request-ID"]) == (200, "of-the-client/1")
    line = logged(tiny_server, "of-the-client/1")
    assert (line["model"], line["version"], line["images"], line["status"]) == ("tiny", "12", 3, 200)
    assert (line["method"], line["path"]) == ("POST", V1)
    assert line["milliseconds"] > 0
    assert line["bytes_in"] > 100
    made = [tiny_server.whole("GET", "/v2/health/live", headers={"X-Request-ID": bad})[1] for bad in ("a b", "a" * 200)]
    assert all(len(headers["X-Request-ID"]) == 36 for headers in made)


def test_metrics_count_requests_errors_and_batches(tiny_server):
    def value(name):
        time.sleep(0.02)  # an answer is counted once it is sent
        lines = tiny_server.request("GET", "/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    one = 'kzoo_requests_total{model="tiny",route="protocol_v1.predict",status="200",version="12"}'
    wrong = 'kzoo_requests_total{model="tiny",route="protocol_v1.predict",status="400",version="12"}'
    counted = [one, wrong, one.replace("requests_total", "request_seconds_count").replace('status="200",', "")]
    counted += ["kzoo_images_total", "kzoo_batch_images_count"]
    before = [value(name) for name in counted]
    tiny_server.post(V1, {"instances": IMAGES.tolist()})
    tiny_server.post(V1, {"instances": []})
    after = [value(name) for name in counted]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 2, 3, 1]
    assert value('kzoo_model_loaded{model="tiny",version="1"}') == 1
    assert value("process_resident_memory_bytes") > 0


def test_curl_without_a_content_type_is_answered(tiny_server):
    body = json.dumps({"instances": IMAGES.tolist()})
    command = ["curl", "-s", "-d", body, f"http://127.0.0.1:{tiny_server.port}{V1}"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    close([row["logits"] for row in answer["predictions"]])


def test_interface_is_described(tiny_server):
    status, api = tiny_server.request("GET", "/openapi.json")
    assert status == 200
    assert {"/v1/models/{name}:predict", "/v2/models/{name}/infer", "/metrics"} <= api["paths"].keys()
    status, page = tiny_server.request("GET", "/docs")
    assert status == 200
    assert b"/v2/models/{name}/infer" in page
    assert b"<code>error</code> says why" in page
    assert b"`" not in page


def test_deadline_of_a_header_is_honoured(tiny_server):
    body = json.dumps({"instances": IMAGES.tolist()})
    assert tiny_server.post(V1, body.encode(), {"X-Timeout-Seconds": "1e-9"})[0] == 504
    assert tiny_server.post(V1, body.encode(), {"X-Timeout-Seconds": "5"})[0] == 200
    for given in ("0", "-1", "soon", "nan"):
        status, answer = tiny_server.post(V1, body.encode(), {"X-Timeout-Seconds": given})
        assert (status, "X-Timeout-Seconds must be a number above 0" in answer["error"]) == (400, True)


def test_server_imports_no_backend_and_stays_small(tiny_server):
    with open(f"/proc/{tiny_server.process.pid}/maps") as file:
        mapped = file.read()
    assert "openvino" in mapped
    assert not [name for name in ("tensorflow", "torch", "jaxlib", "h5py") if f"-packages/{name}/" in mapped]
    with open(f"/proc/{tiny_server.process.pid}/status") as file:
        (resident,) = [int(line.split()[1]) for line in file if line.startswith("VmRSS")]
    assert resident < 250_000
