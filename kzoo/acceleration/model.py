"""The model class of the backend in use."""

import importlib
from typing import Any

import keras

# tensorflow_model.py, jax_model.py and torch_model.py have one class of that name each.
AcceleratedModel: Any = importlib.import_module(f"kzoo.acceleration.{keras.config.backend()}_model").AcceleratedModel
