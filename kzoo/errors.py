"""Errors of kzoo's own."""


class ExportError(RuntimeError):
    """An export that cannot be written or read back, or does not answer as its source does."""
