"""The page at the server's root."""

import importlib.resources
import json

from kzoo.serving.runtime import ExportedModel

# No other host is asked for anything, whatever the page says.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(model: ExportedModel) -> str:
    """Returns the page, with what it must know of the model."""
    template = importlib.resources.files("kzoo.serving").joinpath("page.html").read_text(encoding="utf-8")
    about = {"name": model.name, "version": model.version, "classes": model.class_names}
    # Inside a script element, "<" is the only character that could end it.
    return template.replace("{{model}}", json.dumps(about).replace("<", "\\u003c"))
