"""Models written for servers and other runtimes, and verified there.

A server reads exports without Keras: each name comes with its first use.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily

if TYPE_CHECKING:
    from kzoo.export.exporting import Exported, export_model
    from kzoo.export.saved import export_saved
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {"exporting": ["Exported", "export_model"], "saved": ["export_saved"]},
    )

__all__ = ["Exported", "export_model", "export_saved"]
