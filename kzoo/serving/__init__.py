"""An exported model behind HTTP: the V1 and Open Inference protocols, and a page.

The limits are here at once; what needs Keras is imported when it is first used.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily
from kzoo.serving.limits import Limits

if TYPE_CHECKING:
    from kzoo.serving.requests import BadRequest
    from kzoo.serving.server import serve
else:
    __getattr__, __dir__ = lazily(__name__, {"requests": ["BadRequest"], "server": ["serve"]})

__all__ = ["BadRequest", "Limits", "serve"]
