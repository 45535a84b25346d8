"""Errors of kzoo's own."""


class ExportError(RuntimeError):
    """An export that cannot be written or read back, or does not answer as its source does."""


class DivergenceError(ArithmeticError):
    """A training ended because its loss is not a number any more.

    Attributes:
        step: Integer, the first step with such a loss, counted from 1.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class OutOfMemoryError(MemoryError):
    """A training ended because memory is too short for its batches."""


class WorkerError(RuntimeError):
    """A training of several processes cannot begin, or ended because one of them was lost."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training was asked to end, and has left a checkpoint to go on from.

    Attributes:
        signal: Integer, `signal.SIGINT` or `signal.SIGTERM`.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number
