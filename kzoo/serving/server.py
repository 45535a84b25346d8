"""The server: kserve's protocols, the guard before them and the page beside them."""

import asyncio
import concurrent.futures
import logging
import os
import socket
import sys
import uuid
import warnings
from collections.abc import Mapping
from types import NoneType
from typing import Any

from kzoo.arguments import instance, integer, path, text
from kzoo.export.signatures import OUTPUTS
from kzoo.serving.guard import Guard
from kzoo.serving.limits import Limits
from kzoo.serving.page import CONTENT_SECURITY_POLICY, page
from kzoo.serving.requests import BadRequest, images_of_v1, images_of_v2, numbers_of
from kzoo.serving.runtime import ExportedModel, load_export

_GRACE_SECONDS = 20
_DATATYPES = {"logits": "FP32", "probabilities": "FP32", "class_index": "INT64"}


def serve(
    directory: str | os.PathLike[str], *, host: str = "127.0.0.1", port: int = 8080, limits: Limits | None = None
) -> None:
    """Serves an export over HTTP until SIGTERM or SIGINT, then finishes the requests that it has.

    | route | what |
    |---|---|
    | `POST /v1/models/NAME:predict` | V1 protocol, as TensorFlow Serving |
    | `POST /v2/models/NAME/infer` | Open Inference Protocol, JSON or binary |
    | `GET /v2/health/ready`, `/v1/models/NAME` | readiness |
    | `GET /` | a page for people, `{"status": "alive"}` for programs |
    | `GET /metrics` | counters for Prometheus |

    Args:
        directory: Path of an export, or of the folder of its versions.
        host: Address to listen at. Defaults to `"127.0.0.1"`, this machine alone.
        port: Integer. Defaults to `8080`.
        limits: The `Limits` of a request. Defaults to `Limits()`.

    Raises:
        FileNotFoundError: If there is no such export.
        ImportError: If kserve is not installed, or no runtime is.
        OSError: If the address is none of this machine's, or the port is taken.
        ValueError: If the port is none.
    """
    directory, host = path(directory, "directory"), text(host, "host")
    instance(limits, "limits", (Limits, NoneType), "kzoo.serving.limits.Limits, or None")
    port = integer(port, "port")
    if not 1 <= port <= 65_535:
        raise ValueError(f"`port` must be between 1 and 65535. Received: port={port}.")
    _check_free(host, port)
    kserve = _import_kserve()
    model = load_export(directory)
    rest = application(kserve, model, limits or Limits())
    rest.config.host, rest.config.port = host, port
    print(f"Serving {model.name} by {model.runtime} at http://{host}:{port}", flush=True)  # noqa: T201
    asyncio.run(rest.start())


def _check_free(host: str, port: int) -> None:
    try:
        host.encode("idna")  # or a socket is left open
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, UnicodeError) as error:
        raise OSError(
            f"`host` and `port` must be free to listen at. Received: host={host!r}, port={port}: {error}."
        ) from error


def application(kserve: Any, model: ExportedModel, limits: Limits) -> Any:
    """Returns kserve's REST server with the model, the guard and the page in it.

    Args:
        kserve: The package.
        model: The `ExportedModel`.
        limits: The `Limits` of a request.
    """
    from fastapi import Request
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from kserve.model_server import app
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

    html = page(model)
    # kserve logs a traceback for each mistake of a client; uvicorn logs what is wrong with the server itself.
    logging.getLogger("kserve").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "ORJSONResponse is deprecated")

    # Before kserve registers its own answer at the root, so that this one is found first.
    @app.get("/", response_model=None)
    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})
        return JSONResponse({"status": "alive"})

    async def refuse(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=400)

    app.add_exception_handler(ValueError, refuse)  # BadRequest, and what kserve raises as it parses
    app.add_middleware(Guard, body_bytes=limits.body_bytes)
    repository = kserve.ModelRepository()
    repository.update(_kserve_model(kserve, model, limits))
    return RESTServer(
        "kserve.model_server:app",
        DataPlane(repository),
        ModelRepositoryExtension(repository),
        http_port=0,
        grace_period=_GRACE_SECONDS,
    )


def _import_kserve() -> Any:
    """Imports kserve, which reads the command line as it is imported: not this one."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        import kserve
        import kserve.model_server
    except ImportError as error:
        raise ImportError(f"Serving needs kserve. Received: {error}. Install 'kzoo[serve]'.") from error
    finally:
        sys.argv = arguments
    return kserve


def _kserve_model(kserve: Any, model: ExportedModel, limits: Limits) -> Any:
    decoding = model.decoding

    class Served(kserve.Model):
        """The export as kserve calls it."""

        def __init__(self) -> None:
            super().__init__(model.name)
            # Inference leaves the event loop free to answer whether the server lives.
            self.pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, "predict")
            self.ready = True

        async def predict(self, payload: Any, headers: Mapping[str, str] | None = None, *_: Any) -> Any:
            return await asyncio.get_running_loop().run_in_executor(self.pool, self._answer, payload)

        def _answer(self, payload: Any) -> Any:
            if not isinstance(payload, kserve.InferRequest):
                outputs = model.predict(images_of_v1(payload, decoding, limits))
                columns = {name: outputs[name].tolist() for name in OUTPUTS}
                rows = zip(*columns.values(), strict=True)
                return {"predictions": [dict(zip(OUTPUTS, row, strict=True)) for row in rows]}
            if len(payload.inputs) != 1:
                raise BadRequest(f"A request must have one input. Received: {len(payload.inputs)}.")
            tensor = payload.inputs[0]
            outputs = model.predict(images_of_v2(tensor.name, _array(tensor), decoding, limits))
            answered = [_output(kserve, name, outputs[name]) for name in OUTPUTS]
            request_id = payload.id or str(uuid.uuid4())
            return kserve.InferResponse(request_id, model.name, answered, model_version=model.version)

        def get_input_types(self) -> list[dict[str, Any]]:
            shape = [-1, *(decoding.image_size or ()), decoding.channels]
            return [{"name": "image", "datatype": "UINT8", "shape": shape}]

        def get_output_types(self) -> list[dict[str, Any]]:
            shapes = {"class_index": [-1]}
            return [
                {"name": name, "datatype": _DATATYPES[name], "shape": shapes.get(name, [-1, len(model.class_names)])}
                for name in OUTPUTS
            ]

    return Served()


def _array(tensor: Any) -> Any:
    """Returns a tensor of a request; kserve would make numbers of JSON fit the datatype, 1.5 to 1."""
    try:
        if tensor.name == "image" and tensor.datatype != "UINT8":
            raise BadRequest(f'Input "image" must have datatype UINT8. Received: {tensor.datatype}.')
        if tensor.datatype == "UINT8" and isinstance(tensor.data, list):
            return numbers_of(tensor.data).reshape(tensor.shape)
        return tensor.as_numpy()
    except BadRequest:
        raise
    except Exception as error:  # kserve lets through whatever its parsing raises
        message = f"Input {tensor.name!r} must hold what its datatype and shape say. Received: {error}."
        raise BadRequest(message) from error


def _output(kserve: Any, name: str, values: Any) -> Any:
    output = kserve.InferOutput(name, list(values.shape), _DATATYPES[name])
    output.set_data_from_numpy(values, binary_data=False)
    return output
