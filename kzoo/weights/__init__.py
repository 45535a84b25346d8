"""Weights files, in and out of models."""

from kzoo.weights.loading import load_weights, save_weights

__all__ = ["load_weights", "save_weights"]
