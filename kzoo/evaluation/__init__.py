"""How good a classifier is, and how far its probabilities can be believed."""

from kzoo.evaluation.calibration import calibration_error, fitted_temperature
from kzoo.evaluation.metrics import (
    Evaluation,
    are_logits,
    as_logits,
    evaluate,
    evaluation_of,
    gives_logits,
    log_probabilities,
    log_softmax,
    places,
    sample_answers,
)
from kzoo.evaluation.predicting import even_batch_size, predict_in_whole_batches

__all__ = [
    "Evaluation",
    "are_logits",
    "as_logits",
    "calibration_error",
    "evaluate",
    "evaluation_of",
    "even_batch_size",
    "fitted_temperature",
    "gives_logits",
    "log_probabilities",
    "log_softmax",
    "places",
    "predict_in_whole_batches",
    "sample_answers",
]
