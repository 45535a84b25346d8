"""The V1 protocol, as TensorFlow Serving's clients speak it.

Reference:
    - [RESTful API](https://www.tensorflow.org/tfx/serving/api_rest)
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kzoo.export.signatures import INPUTS, OUTPUTS
from kzoo.serving.answers import Service, json_response, seconds_of, told_of
from kzoo.serving.errors import NotFound, short
from kzoo.serving.json_bodies import read_json
from kzoo.serving.requests import Asked, asked_by_v1, most_lists, shape_of
from kzoo.serving.runtime import ExportedModel

_KINDS = {"logits": ("DT_FLOAT", True), "probabilities": ("DT_FLOAT", True), "class_index": ("DT_INT64", False)}


async def predict(request: Request) -> Response:
    """Answers `POST /v1/models/NAME[/versions/VERSION]:predict`."""
    service: Service = request.app.state.service
    name, version = request.path_params["name"], request.path_params.get("version")
    with service.repository.used(name, version) as loaded, service.predictions.admitted():
        told_of(request, loaded.model)
        body = await request.body()
        async with service.predictions.within(seconds_of(request)):
            asked = await service.predictions.read(body, _asked, body, loaded.model, service)
            told_of(request, loaded.model, asked.batch)
            outputs = await service.predictions.outputs(loaded, asked)
        columns = {name: outputs[name].tolist() for name in OUTPUTS}
    if asked.columns:
        return json_response({"outputs": columns})
    rows = zip(*columns.values(), strict=True)
    return json_response({"predictions": [dict(zip(OUTPUTS, row, strict=True)) for row in rows]})


def _asked(body: bytes, model: ExportedModel, service: Service) -> Asked:
    payload = read_json(body, most_lists(model.decoding, service.limits))
    return asked_by_v1(payload, model.decoding, service.limits)


async def status(request: Request) -> Response:
    """Answers `GET /v1/models/NAME[/versions/VERSION]`."""
    service: Service = request.app.state.service
    name, version = request.path_params["name"], request.path_params.get("version")
    states = {number: state for (one, number), state in service.repository.states.items() if one == name}
    if version is not None:
        states = {number: state for number, state in states.items() if str(number) == version}
    if not states:
        asked = name if version is None else f"{name} in version {version}"
        raise NotFound(f"Could not find any versions of model {short(asked)[1:-1]}.")
    return json_response(
        {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state.state,
                    "status": {
                        "error_code": "UNKNOWN" if state.error else "OK",
                        "error_message": "The version could not be loaded: see the server's log."
                        if state.error
                        else "",
                    },
                }
                for number, state in sorted(states.items(), reverse=True)
            ]
        }
    )


async def metadata(request: Request) -> Response:
    """Answers `GET /v1/models/NAME[/versions/VERSION]/metadata`, with the signatures that can be asked."""
    service: Service = request.app.state.service
    model = service.repository.get(request.path_params["name"], request.path_params.get("version")).model
    kinds = {
        "serving_default": ("DT_UINT8", shape_of(model.decoding)),
        "float_images": ("DT_FLOAT", shape_of(model.decoding)),
        "encoded_images": ("DT_STRING", ()),
    }
    if model.predict_floats is None:
        del kinds["float_images"]
    outputs = {
        name: _tensor(name, kind, (len(model.class_names),) if classes else ())
        for name, (kind, classes) in _KINDS.items()
    }
    signatures = {
        signature: {
            "inputs": {INPUTS[signature]: _tensor(INPUTS[signature], *kind)},
            "outputs": outputs,
            "method_name": "tensorflow/serving/predict",
        }
        for signature, kind in kinds.items()
    }
    return json_response(
        {
            "model_spec": {"name": model.name, "signature_name": "", "version": model.version},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
    )


def _tensor(name: str, kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in (-1, *shape)]
    return {"dtype": kind, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": f"{name}:0"}
