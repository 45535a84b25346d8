"""An exported model behind HTTP: the V1 and Open Inference protocols, and a page."""

from kzoo.serving.requests import BadRequest, Limits
from kzoo.serving.server import serve

__all__ = ["BadRequest", "Limits", "serve"]
