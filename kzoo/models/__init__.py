"""Constructors that return a plain functional `keras.Model`.

The names of the models are here at once; what needs Keras is imported when it is first used.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily
from kzoo.models.named import *  # noqa: F403
from kzoo.models.registry import create_model, list_models

if TYPE_CHECKING:
    from kzoo.models.description import Description, describe
    from kzoo.models.importing import import_checkpoint
    from kzoo.models.model import Model
    from kzoo.models.preset import Preset, fetch_preset, load_preset
    from kzoo.models.residual import resnet, wide_resnet
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "description": ["Description", "describe"],
            "importing": ["import_checkpoint"],
            "model": ["Model"],
            "preset": ["Preset", "fetch_preset", "load_preset"],
            "residual": ["resnet", "wide_resnet"],
        },
    )

__all__ = [
    "Description",
    "Model",
    "Preset",
    "create_model",
    "describe",
    "fetch_preset",
    "import_checkpoint",
    "list_models",
    "load_preset",
    "resnet",
    "wide_resnet",
    *list_models(),
]
