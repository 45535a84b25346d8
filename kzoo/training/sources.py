"""What a trained model is read from: a run directory, or a preset."""

import os

from kzoo.models import Preset
from kzoo.presets import is_preset
from kzoo.training.run import Run


def run_or_preset(source: str | os.PathLike[str]) -> Run | Preset:
    """Opens a run directory, or a preset by its name, its folder or its address on the hub.

    Raises:
        FileNotFoundError: If it is neither.
    """
    return Preset(source) if is_preset(source) else Run(source)
