"""Exported models behind HTTP: the V1 and Open Inference protocols, and a page.

The limits are here at once; the rest is imported when it is first used. None of it needs Keras.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily
from kzoo.serving.limits import Limits

if TYPE_CHECKING:
    from kzoo.serving.errors import BadRequest
    from kzoo.serving.server import serve
else:
    __getattr__, __dir__ = lazily(__name__, {"errors": ["BadRequest"], "server": ["serve"]})

__all__ = ["BadRequest", "Limits", "serve"]
