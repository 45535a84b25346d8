"""The application: which function answers at which address, behind the guards."""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kzoo.serving import page, protocol_v1, protocol_v2
from kzoo.serving.answers import Service, json_response
from kzoo.serving.errors import ServingError, failed
from kzoo.serving.guard import Application, Bodies, Gate
from kzoo.serving.observing import Observed
from kzoo.serving.settings import Settings


async def metrics(request: Request) -> Response:
    """Answers `GET /metrics`."""
    content, kind = request.app.state.service.metrics.text()
    return Response(content, media_type=kind)


def _model_routes(prefix: str, suffix: str, endpoint: Any, methods: list[str]) -> list[Route]:
    paths = [f"{prefix}/{{name}}{suffix}", f"{prefix}/{{name}}/versions/{{version}}{suffix}"]
    return [Route(path, endpoint, methods=methods) for path in paths]


ROUTES = [
    Route("/", page.root),
    Route("/page.css", page.style),
    Route("/page.js", page.script),
    Route("/about.json", page.about),
    Route("/docs", page.documentation),
    Route("/openapi.json", page.openapi),
    Route("/metrics", metrics),
    *_model_routes("/v1/models", ":predict", protocol_v1.predict, ["POST"]),
    *_model_routes("/v1/models", "/metadata", protocol_v1.metadata, ["GET"]),
    *_model_routes("/v1/models", "", protocol_v1.status, ["GET"]),
    Route("/v2", protocol_v2.server),
    Route("/v2/health/live", protocol_v2.live),
    Route("/v2/health/ready", protocol_v2.ready),
    *_model_routes("/v2/models", "/infer", protocol_v2.infer, ["POST"]),
    *_model_routes("/v2/models", "/ready", protocol_v2.model_ready, ["GET"]),
    *_model_routes("/v2/models", "/config", protocol_v2.configuration, ["GET"]),
    *_model_routes("/v2/models", "", protocol_v2.metadata, ["GET"]),
    Route("/v2/repository/index", protocol_v2.index, methods=["POST"]),
    Route("/v2/repository/{rest:path}", protocol_v2.repository, methods=["GET", "POST"]),
]


def application(service: Service, settings: Settings) -> Application:
    """Returns the ASGI application.

    Args:
        service: What answers.
        settings: Who may ask.
    """
    handlers: Any = {ServingError: _told, HTTPException: _told_by_starlette, Exception: _told_by_id}
    starlette = Starlette(routes=ROUTES, exception_handlers=handlers)
    starlette.state.service = service
    limits = service.limits
    bodies = Bodies(starlette, limits)
    gate = Gate(bodies, settings.host_names, settings.allow_origins, settings.key, limits.body_seconds)
    return Observed(gate, service.metrics)


async def _told(request: Request, error: ServingError) -> Response:
    response = json_response({"error": str(error)}, error.status)
    response.headers.update(error.headers)
    return response


async def _told_by_starlette(request: Request, error: HTTPException) -> Response:
    response = json_response({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _told_by_id(request: Request, error: Exception) -> Response:
    return await _told(request, failed(request.scope["kzoo"]["request_id"]))
