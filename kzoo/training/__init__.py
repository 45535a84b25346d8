"""Recipes, training and the run directory."""

from kzoo.training.loop import fit
from kzoo.training.optimizer import SGD
from kzoo.training.pixels import set_pixel_statistics
from kzoo.training.prediction import Prediction, predict_files
from kzoo.training.recipes import RECIPES, Recipe, recipe
from kzoo.training.run import Run
from kzoo.training.schedule import StepSchedule

__all__ = [
    "RECIPES",
    "SGD",
    "Prediction",
    "Recipe",
    "Run",
    "StepSchedule",
    "fit",
    "predict_files",
    "recipe",
    "set_pixel_statistics",
]
