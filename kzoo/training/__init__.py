"""Recipes, training and the run directory.

The recipes are here at once; what needs Keras is imported when it is first used.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily
from kzoo.training.known_recipes import RECIPES, list_recipes, recipe
from kzoo.training.recipes import Recipe

if TYPE_CHECKING:
    from kzoo.training.loop import fit
    from kzoo.training.optimizer import SGD
    from kzoo.training.pixels import set_pixel_statistics
    from kzoo.training.prediction import Prediction, predict_files
    from kzoo.training.run import Run
    from kzoo.training.schedule import StepSchedule
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "loop": ["fit"],
            "optimizer": ["SGD"],
            "pixels": ["set_pixel_statistics"],
            "prediction": ["Prediction", "predict_files"],
            "run": ["Run"],
            "schedule": ["StepSchedule"],
        },
    )

__all__ = [
    "RECIPES",
    "SGD",
    "Prediction",
    "Recipe",
    "Run",
    "StepSchedule",
    "fit",
    "list_recipes",
    "predict_files",
    "recipe",
    "set_pixel_statistics",
]
