"""The Open Inference Protocol (V2), with Triton's extensions for binary tensors, classification and the repository.

Reference:
    - [Open Inference Protocol](https://github.com/kserve/open-inference-protocol)
"""

import math
import uuid
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from kzoo.export.signatures import OUTPUTS
from kzoo.serving.answers import Service, json_response, seconds_of, told_of, version_of_kzoo
from kzoo.serving.errors import BadRequest, Refused, short
from kzoo.serving.json_bodies import read_json, write_json
from kzoo.serving.requests import Asked, asked_by_v2, most_lists, shape_of
from kzoo.serving.runners import Outputs
from kzoo.serving.runtime import ExportedModel
from kzoo.serving.tensors import described_outputs, read_tensor, written_output

HEADER_LENGTH = "Inference-Header-Content-Length"
_LONGEST_TIMEOUT = 2**64 - 1  # Triton's is an integer of 64 bits
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration"]


class Question(NamedTuple):
    """What a request asks: images, which outputs in which form, and within which time."""

    asked: Asked
    request_id: str
    outputs: dict[str, dict[str, Any]]
    binary: bool
    seconds: float | None


async def infer(request: Request) -> Response:
    """Answers `POST /v2/models/NAME[/versions/VERSION]/infer`."""
    service: Service = request.app.state.service
    name, version = request.path_params["name"], request.path_params.get("version")
    with service.repository.used(name, version) as loaded, service.predictions.admitted():
        told_of(request, loaded.model)
        body = await request.body()
        length = request.headers.get(HEADER_LENGTH)
        async with service.predictions.within(seconds_of(request)) as deadline:
            question = await service.predictions.read(body, _question, body, length, loaded.model, service)
            told_of(request, loaded.model, question.asked.batch)
            deadline.bring_forward(question.seconds)
            outputs = await service.predictions.outputs(loaded, question.asked)
    return _answer(question, loaded.model, outputs)


def _question(body: bytes, length: str | None, model: ExportedModel, service: Service) -> Question:
    size = len(body)
    if length is not None:
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else -1
        if not 0 <= size <= len(body):
            raise BadRequest(
                f"{HEADER_LENGTH} must be at most the body's {len(body):,} bytes. Received: {short(length)}."
            )
    payload = read_json(body[:size], most_lists(model.decoding, service.limits))
    if not isinstance(payload, dict):
        raise BadRequest('The body must be a JSON object with a list of "inputs".')
    inputs = payload.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        received = len(inputs) if isinstance(inputs, list) else "no list"
        raise BadRequest(f"A request must have one input. Received: {received}.")
    most = service.limits.batch * math.prod(shape_of(model.decoding)) * 4  # whatever the batch, its error is nicer
    tensor, rest = read_tensor(inputs[0], memoryview(body)[size:], most)
    if len(rest):
        raise BadRequest(f"The body must end with the last input. Received: {len(rest)} bytes more.")
    parameters = _parameters(payload)
    return Question(
        asked_by_v2(tensor.name, tensor.datatype, tensor.values, model.decoding, service.limits),
        str(payload.get("id") or uuid.uuid4())[:128],
        _wanted(payload.get("outputs")),
        parameters.get("binary_data_output") is True,
        _timeout(parameters.get("timeout")),
    )


def _wanted(outputs: Any) -> dict[str, dict[str, Any]]:
    """Returns the outputs that are asked for, all where none is named, and the parameters of each."""
    if outputs is None or outputs == []:
        return {name: {} for name in OUTPUTS}
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise BadRequest('"outputs" must be a list of objects with "name".')
    for output in outputs:
        if output.get("name") not in OUTPUTS:
            raise BadRequest(f"An output must be one of {', '.join(OUTPUTS)}. Received: {short(output.get('name'))}.")
    return {output["name"]: _parameters(output) for output in outputs}


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest('"parameters" must be an object.')
    return parameters


def _timeout(microseconds: Any) -> float | None:
    """Returns the seconds that Triton's `timeout` means, which 0 leaves to the server."""
    if microseconds is None or microseconds == 0:
        return None
    if type(microseconds) is not int or not 0 < microseconds <= _LONGEST_TIMEOUT:
        expected = "an integer from 0 to 2^64 - 1"
        raise BadRequest(f'"timeout" must be in microseconds, {expected}. Received: {short(microseconds)}.')
    return microseconds / 1e6


def _answer(question: Question, model: ExportedModel, outputs: Outputs) -> Response:
    written = [
        written_output(name, outputs[name], parameters, question.binary, model.class_names)
        for name, parameters in question.outputs.items()
    ]
    content = {
        "model_name": model.name,
        "model_version": model.version,
        "id": question.request_id,
        "outputs": [output for output, _ in written],
    }
    binary = b"".join(values for _, values in written)
    if not any("parameters" in output for output, _ in written):
        return json_response(content)
    head = write_json(content)
    headers = {HEADER_LENGTH: str(len(head))}
    return Response(head + binary, media_type="application/octet-stream", headers=headers)


async def server(request: Request) -> Response:
    """Answers `GET /v2`."""
    return json_response({"name": "kzoo", "version": version_of_kzoo(), "extensions": _EXTENSIONS})


async def live(request: Request) -> Response:
    """Answers `GET /v2/health/live`."""
    return json_response({"live": True})


async def ready(request: Request) -> Response:
    """Answers `GET /v2/health/ready`: ready while a model answers, and no end is near."""
    service: Service = request.app.state.service
    is_ready = bool(service.repository.models)
    return json_response({"ready": is_ready}, 200 if is_ready else 503)


async def model_ready(request: Request) -> Response:
    """Answers `GET /v2/models/NAME[/versions/VERSION]/ready`."""
    model = _model(request)
    return json_response({"name": model.name, "ready": True})


async def metadata(request: Request) -> Response:
    """Answers `GET /v2/models/NAME[/versions/VERSION]`."""
    service: Service = request.app.state.service
    model = _model(request)
    floats = {"name": "image", "datatype": "FP32", "shape": [-1, *shape_of(model.decoding)]}
    files = {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}
    return json_response(
        {
            "name": model.name,
            "versions": [str(version) for version in service.repository.models.get(model.name, [])],
            "platform": f"{model.runtime}_{model.format}",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, *shape_of(model.decoding)]}],
            "outputs": described_outputs(len(model.class_names)),
            "parameters": {
                "class_names": list(model.class_names),
                "other_inputs": [files] if model.predict_floats is None else [floats, files],
            },
        }
    )


async def configuration(request: Request) -> Response:
    """Answers `GET /v2/models/NAME[/versions/VERSION]/config`, as far as there is something to say."""
    service: Service = request.app.state.service
    model = _model(request)
    outputs = described_outputs(len(model.class_names))
    return json_response(
        {
            "name": model.name,
            "platform": f"{model.runtime}_{model.format}",
            "max_batch_size": service.limits.batch,
            "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": list(shape_of(model.decoding))}],
            "output": [
                {"name": one["name"], "data_type": f"TYPE_{one['datatype']}", "dims": one["shape"][1:]}
                for one in outputs
            ],
        }
    )


async def index(request: Request) -> Response:
    """Answers `POST /v2/repository/index`."""
    service: Service = request.app.state.service
    names = {"AVAILABLE": "READY", "END": "UNAVAILABLE"}
    return json_response(
        [
            {"name": name, "version": str(version), "state": names.get(state.state, state.state), "reason": ""}
            for (name, version), state in sorted(service.repository.states.items())
        ]
    )


async def repository(request: Request) -> Response:
    """Refuses to load and unload over HTTP."""
    raise Refused("Models can be neither loaded nor unloaded over HTTP.")


def _model(request: Request) -> ExportedModel:
    service: Service = request.app.state.service
    return service.repository.get(request.path_params["name"], request.path_params.get("version")).model
