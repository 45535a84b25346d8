"""The description of the server's interface, in OpenAPI 3.1."""

from typing import Any

_IMAGE = {
    "description": "An image as nested lists of integers in [0, 255], `[height][width][channels]`.",
    "type": "array",
    "items": {"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}},
}
_FILE = {
    "description": "A JPEG or PNG file of any size, in base64.",
    "type": "object",
    "required": ["b64"],
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
}
_V1 = {
    "type": "object",
    "properties": {
        "signature_name": {"enum": ["serving_default", "float_images", "encoded_images"]},
        "instances": {"type": "array", "minItems": 1, "items": {"oneOf": [_IMAGE, _FILE]}},
        "inputs": {"description": "The columnar format, instead of `instances`."},
    },
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"enum": ["image", "image_bytes"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"enum": ["UINT8", "FP32", "BYTES"]},
        "data": {"type": "array"},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
    },
}
_V2 = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": ["logits", "probabilities", "class_index"]},
                    "parameters": {
                        "type": "object",
                        "properties": {"binary_data": {"type": "boolean"}, "classification": {"type": "integer"}},
                    },
                },
            },
        },
        "parameters": {
            "type": "object",
            "properties": {
                "timeout": {"type": "integer", "description": "Microseconds."},
                "binary_data_output": {"type": "boolean"},
            },
        },
    },
}
_ERRORS = {
    "400": "The request is not what it should be; `error` says why.",
    "404": "There is no such model or version.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "503": "Too many requests are in progress; Retry-After says when to come again.",
    "504": "The deadline passed first.",
}
_PLAIN = {
    "/v1/models/{name}": "States of all versions, as TensorFlow Serving names them.",
    "/v1/models/{name}/versions/{version}": "State of one version.",
    "/v1/models/{name}/metadata": "Signatures, inputs and outputs.",
    "/v2": "Name, version and extensions of the server.",
    "/v2/health/live": "Whether the server lives.",
    "/v2/health/ready": "Whether a model answers.",
    "/v2/models/{name}": "Versions, inputs, outputs and names of the classes.",
    "/v2/models/{name}/ready": "Whether the model answers.",
    "/v2/models/{name}/config": "The model's configuration, as Triton names it.",
    "/metrics": "Counters for Prometheus.",
    "/about.json": "Models, versions, cards and examples, for the page.",
}


def description() -> dict[str, Any]:
    """Returns the description."""
    from kzoo import __version__

    asked = {
        "/v1/models/{name}:predict": ("Predicts, by the V1 protocol (TensorFlow Serving).", _V1),
        "/v1/models/{name}/versions/{version}:predict": ("Predicts with one version.", _V1),
        "/v2/models/{name}/infer": ("Predicts, by the Open Inference Protocol, in JSON or binary.", _V2),
        "/v2/models/{name}/versions/{version}/infer": ("Predicts with one version.", _V2),
    }
    paths: dict[str, Any] = {path: {"post": _asking(path, *about)} for path, about in asked.items()}
    paths |= {path: {"get": _operation(path, summary, {})} for path, summary in _PLAIN.items()}
    paths["/v2/repository/index"] = {"post": _operation("", "The models and their states.", {})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kzoo serve",
            "version": __version__,
            "description": "Classifies images. Where the server has a key, a request brings it as "
            "`Authorization: Bearer KEY` or `X-API-Key: KEY`. X-Request-ID comes back as it was sent; "
            "X-Timeout-Seconds names a deadline.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
        },
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def _asking(path: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {**_operation(path, summary, _ERRORS), "requestBody": body}


def _operation(path: str, summary: str, errors: dict[str, str]) -> dict[str, Any]:
    names = [name for name in ("name", "version") if f"{{{name}}}" in path]
    error = {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
    told = {status: {"description": words, "content": {"application/json": error}} for status, words in errors.items()}
    return {
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": "The answer."}, **told},
    }
