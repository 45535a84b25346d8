"""The page at the server's root, what it asks of the models, and the description of the interface."""

import base64
import functools
import html
import importlib.resources
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from kzoo.serving.answers import Service, json_response
from kzoo.serving.openapi import description
from kzoo.serving.requests import shape_of
from kzoo.serving.runtime import ExportedModel

# No other host is asked for anything, whatever the page says.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def root(request: Request) -> Response:
    """Answers `GET /`: the page for people, a word for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_file("page.html"), headers=_HEADERS)
    return json_response({"status": "alive"})


async def style(request: Request) -> Response:
    """Answers `GET /page.css`."""
    return Response(_file("page.css"), media_type="text/css", headers=_HEADERS)


async def script(request: Request) -> Response:
    """Answers `GET /page.js`."""
    return Response(_file("page.js"), media_type="text/javascript", headers=_HEADERS)


async def about(request: Request) -> Response:
    """Answers `GET /about.json`: the models and versions that answer, their cards and examples."""
    service: Service = request.app.state.service
    models = [
        {"name": name, "versions": [_about(service.repository.get(name, str(version)).model) for version in versions]}
        for name, versions in service.repository.models.items()
    ]
    limits = {"batch": service.limits.batch, "body_bytes": service.limits.body_bytes}
    return json_response({"models": models, "limits": limits})


async def openapi(request: Request) -> Response:
    """Answers `GET /openapi.json`."""
    return json_response(description())


async def documentation(request: Request) -> Response:
    """Answers `GET /docs`: the description as a page."""
    return HTMLResponse(_documentation(), headers=_HEADERS)


def _about(model: ExportedModel) -> dict[str, Any]:
    return {
        "version": model.version,
        "classes": list(model.class_names),
        "runtime": model.runtime,
        "format": model.format,
        "shape": list(shape_of(model.decoding)),
        "card": {name: value for name, value in model.card.content.items() if name != "classes"},
        "examples": [
            {"png": base64.b64encode(example.png).decode(), "label": example.label} for example in model.examples
        ],
    }


@functools.cache
def _file(name: str) -> str:
    return importlib.resources.files("kzoo.serving").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _documentation() -> str:
    api = description()
    parts = []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            answers = "".join(
                f"<li><strong>{status}</strong> {_words(answer['description'])}</li>"
                for status, answer in operation["responses"].items()
            )
            title = f"<span class='method'>{method.upper()}</span> <code>{html.escape(path)}</code>"
            words = f"<p>{_words(operation['summary'])}</p><ul>{answers}</ul>"
            parts.append(f"<section class='panel'><h2>{title}</h2>{words}</section>")
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>kzoo: interface</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head><body><main class="docs">'
    )
    words = f"<h1>{html.escape(api['info']['title'])}</h1><p>{_words(api['info']['description'])}</p>"
    links = '<p><a href="/">The page</a> and <a href="/openapi.json">the same for programs</a> (OpenAPI 3.1).</p>'
    return f"{head}{words}{links}{''.join(parts)}</main></body></html>"


def _words(text: str) -> str:
    """Returns a text as HTML, what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))
