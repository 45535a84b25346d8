"""Models written for servers and other runtimes, and verified there."""

from kzoo.export.exporting import Exported, export_model
from kzoo.export.saved import export_saved

__all__ = ["Exported", "export_model", "export_saved"]
