"""The service in one event loop, without sockets: deadlines, memory, and what depends on a model's runtime."""

import asyncio
import base64
import dataclasses
import json
import threading
import time

import numpy as np
import pytest
from needs import SERVER, skip_without
from tiny_exports import images_of, logits_of, png, write_export

from kzoo.serving import Limits
from kzoo.serving.settings import Settings

V1, V2 = "/v1/models/tiny:predict", "/v2/models/tiny/infer"
IMAGE = images_of(1)


@pytest.fixture(autouse=True)
def needed():
    skip_without(*SERVER)


def in_service(folder, use, threads=1, **limits):
    """Runs `use(ask, service)`; `ask(path, body, headers)` returns status and answer."""
    from kzoo.serving.answers import Service
    from kzoo.serving.app import application
    from kzoo.serving.metrics import Metrics
    from kzoo.serving.predicting import Predictions
    from kzoo.serving.repository import Repository

    async def run():
        given, metrics = Limits(**limits), Metrics()
        repository = Repository(folder, given, metrics, threads=1)
        predictions = Predictions(given, metrics, threads)
        service = Service(repository, predictions, given, metrics)
        app = application(service, Settings("127.0.0.1", 8080))

        async def ask(path, body=None, headers=()):
            sent = []
            bodies = [{"type": "http.request", "body": body or b"", "more_body": False}]

            async def receive():
                return bodies.pop()

            async def send(message):
                sent.append(message)

            scope = {"type": "http", "path": path, "raw_path": path.encode(), "query_string": b""}
            scope |= {
                "method": "GET" if body is None else "POST",
                "http_version": "1.1",
                "scheme": "http",
                "root_path": "",
                "client": None,
                "server": None,
            }
            await app({**scope, "headers": [(b"host", b"localhost"), *headers]}, receive, send)
            return sent[0]["status"], json.loads(sent[1]["body"])

        await repository.open()
        try:
            return await use(ask, service)
        finally:
            await repository.close()
            predictions.close()

    return asyncio.run(run())


def padded(payload):
    """Returns a body that is large enough to be read beside the event loop."""
    return json.dumps(payload).encode() + b" " * (1 << 19)


TENSOR = {"name": "image", "shape": list(IMAGE.shape), "datatype": "UINT8", "data": IMAGE.ravel().tolist()}
SOON = (b"x-timeout-seconds", b"0.2")


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (V1, padded({"instances": IMAGE.tolist()}), [SOON]),
        (V1, json.dumps({"instances": [{"b64": base64.b64encode(png(IMAGE[0])).decode()}]}).encode(), [SOON]),
        (V2, padded({"inputs": [TENSOR]}), [SOON]),
    ],
    ids=["V1, large body", "V1, file", "V2, large body"],
)
def test_deadline_holds_while_others_are_decoded(path, body, headers, tmp_path):
    write_export(tmp_path)
    done = threading.Event()

    async def use(ask, service):
        blocking = asyncio.create_task(service.predictions.read(bytes(1 << 19), done.wait, 30))
        await asyncio.sleep(0)
        start = time.monotonic()
        try:
            answered = await ask(path, body, headers)
            return answered, time.monotonic() - start
        finally:
            done.set()
            await blocking

    answered, seconds = in_service(tmp_path, use)
    assert answered == (504, {"error": "The answer was not ready within 0.2 seconds."})
    assert seconds < 5


def test_request_that_misses_its_deadline_is_not_computed(tmp_path):
    write_export(tmp_path)
    going_on, asked = threading.Event(), []
    body = json.dumps({"instances": IMAGE.tolist()}).encode()

    async def use(ask, service):
        answerer = service.repository.get("tiny").answerer

        def slowly(images):
            asked.append(len(images))
            going_on.wait(30)
            return predict(images)

        predict = answerer.model.predict
        answerer.model = dataclasses.replace(answerer.model, predict=slowly)
        first = asyncio.create_task(ask(V1, body))
        await asyncio.sleep(0.1)
        late = await asyncio.gather(*[ask(V1, body, [SOON]) for _ in range(3)])
        going_on.set()
        return await first, late, await ask(V1, body), service.metrics.text()[0].decode()

    first, late, last, metrics = in_service(tmp_path, use)
    assert late == [(504, {"error": "The answer was not ready within 0.2 seconds."})] * 3
    assert (first[0], last[0]) == (200, 200)
    assert asked == [1, 1]
    assert "kzoo_batch_requests_sum 2.0" in metrics.splitlines()


def test_timeout_of_a_body_counts_from_when_the_body_was_there(tmp_path):
    write_export(tmp_path)

    async def use(ask, service):
        blocking = asyncio.create_task(service.predictions.read(bytes(1 << 19), time.sleep, 0.5))
        await asyncio.sleep(0)
        body = {"inputs": [TENSOR], "parameters": {"timeout": 400_000}}
        late = await ask(V2, padded(body))  # which is not read before half a second
        await blocking
        return late, await ask(V2, padded({**body, "parameters": {"timeout": 20_000_000}}))

    late, (status, answer) = in_service(tmp_path, use)
    assert late == (504, {"error": "The answer was not ready within 0.4 seconds."})
    assert status == 200
    np.testing.assert_allclose(answer["outputs"][0]["data"], logits_of(IMAGE)[0], rtol=1e-4)


def files_at_once(monkeypatch):
    """Makes decoding slow; returns a list that gets how many files are decoded at once, whenever one begins."""
    from kzoo.serving import predicting

    lock, decoding, seen = threading.Lock(), [], []

    def slowly(file, index, how):
        with lock:
            decoding.append(len(file))
            seen.append(len(decoding))
        time.sleep(0.1)
        with lock:
            decoding.pop()
        return decoded(file, index, how)

    decoded = predicting.decoded
    monkeypatch.setattr(predicting, "decoded", slowly)
    return seen


@pytest.mark.parametrize(("images", "at_once"), [(1, 1), (2, 2), (3, 3)])
def test_pixels_that_are_decoded_at_once_are_bounded(images, at_once, tmp_path, monkeypatch):
    write_export(tmp_path)
    seen = files_at_once(monkeypatch)
    body = json.dumps({"instances": [{"b64": base64.b64encode(png(IMAGE[0])).decode()}]}).encode()

    async def use(ask, service):
        return await asyncio.gather(*[ask(V1, body) for _ in range(6)])

    answers = in_service(tmp_path, use, request_pixels=20 * images, threads=8)
    assert [status for status, _ in answers] == [200] * 6
    for _, answer in answers:
        np.testing.assert_allclose(answer["predictions"][0]["logits"], logits_of(IMAGE)[0], rtol=1e-4)
    assert max(seen) == at_once


def test_request_that_was_given_up_keeps_its_room_until_it_is_decoded(tmp_path, monkeypatch):
    write_export(tmp_path)
    seen = files_at_once(monkeypatch)
    body = json.dumps({"instances": [{"b64": base64.b64encode(png(IMAGE[0])).decode()}]}).encode()

    async def use(ask, service):
        hurried = [(b"x-timeout-seconds", b"0.05")]
        return await asyncio.gather(*[ask(V1, body, hurried if index < 3 else ()) for index in range(5)])

    answers = in_service(tmp_path, use, request_pixels=20, threads=8)
    assert [status for status, _ in answers] == [504, 504, 504, 200, 200]
    assert max(seen) == 1


@pytest.mark.parametrize("floats", [True, False])
def test_metadata_names_floats_where_the_runtime_takes_them_alone(floats, tmp_path):
    write_export(tmp_path)

    async def use(ask, service):
        loaded = service.repository.get("tiny")
        if not floats:
            loaded.model = dataclasses.replace(loaded.model, predict_floats=None)
        _, first = await ask("/v1/models/tiny/metadata")
        _, second = await ask("/v2/models/tiny")
        fractions = {"instances": (IMAGE / 3).tolist(), "signature_name": "float_images"}
        return first, second, (await ask(V1, json.dumps(fractions).encode()))[0]

    first, second, status = in_service(tmp_path, use)
    signatures = {"serving_default", "encoded_images"} | ({"float_images"} if floats else set())
    assert first["metadata"]["signature_def"]["signature_def"].keys() == signatures
    others = [(one["name"], one["datatype"]) for one in second["parameters"]["other_inputs"]]
    assert others == ([("image", "FP32")] if floats else []) + [("image_bytes", "BYTES")]
    assert status == (200 if floats else 400)


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("150000 100000", 2), ("5000 100000", 1), ("1600000 100000", 8), (None, 8)]
)
def test_cores_are_no_more_than_the_quota_of_a_container(quota, cores, tmp_path, monkeypatch):
    from kzoo.serving import server

    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(server, "_CPU_QUOTA", tmp_path / "cpu.max", raising=False)
    monkeypatch.setattr(server.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert server.usable_cores() == cores
