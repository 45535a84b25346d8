"""Trained models without their batch normalization, for inference."""

from kzoo.folding.fold import fold_batch_norm

__all__ = ["fold_batch_norm"]
