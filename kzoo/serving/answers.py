"""What the protocols share: the service behind them, JSON answers, and what is noted of a request."""

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from kzoo.serving.errors import BadRequest, short
from kzoo.serving.json_bodies import write_json
from kzoo.serving.limits import Limits
from kzoo.serving.metrics import Metrics
from kzoo.serving.predicting import Predictions
from kzoo.serving.repository import Repository
from kzoo.serving.runtime import ExportedModel

TIMEOUT = "X-Timeout-Seconds"


class Service(NamedTuple):
    """What answers: the models, the way to their outputs, limits and counters."""

    repository: Repository
    predictions: Predictions
    limits: Limits
    metrics: Metrics


def json_response(content: Any, status: int = 200) -> Response:
    """Returns an answer of JSON."""
    return Response(write_json(content), status, media_type="application/json")


def told_of(request: Request, model: ExportedModel, images: int = 0) -> None:
    """Notes for log and metrics which model a request asks, and about how many images."""
    request.scope["kzoo"] |= {"model": model.name, "version": model.version, "images": images}


def seconds_of(request: Request) -> float | None:
    """Returns the deadline that the headers of a request name, in seconds from now.

    Raises:
        BadRequest: If it is no number above 0.
    """
    given = request.headers.get(TIMEOUT)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise BadRequest(f"{TIMEOUT} must be a number above 0. Received: {short(given)}.")
    return seconds


def version_of_kzoo() -> str:
    """Returns kzoo's version."""
    from kzoo import __version__

    return __version__
