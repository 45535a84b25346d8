"""What a server answers instead of a prediction. None of it repeats what a client sent, but for a short name."""

from collections.abc import Mapping
from typing import Any


class ServingError(Exception):
    """An answer that is an error.

    Args:
        message: String, for whoever sent the request.
        headers: Further headers of the answer. Defaults to none.
    """

    status = 500

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class BadRequest(ServingError, ValueError):  # noqa: N818  the name that HTTP has for it
    """A request that cannot be answered, for a reason on the client's side."""

    status = 400


class NoKey(ServingError):  # noqa: N818
    """A request without the key that the server asks for."""

    status = 401


class Refused(ServingError):  # noqa: N818
    """A request from somewhere, or for something, that is not allowed."""

    status = 403


class NotFound(ServingError):  # noqa: N818
    """A model or version that there is not."""

    status = 404


class TooSlow(ServingError):  # noqa: N818
    """A client that did not send its request in time."""

    status = 408


class TooLarge(ServingError):  # noqa: N818
    """A body of too many bytes."""

    status = 413


class Unsupported(ServingError):  # noqa: N818
    """A body in a form that the server does not read."""

    status = 415


class Busy(ServingError):  # noqa: N818
    """More work than the server may keep waiting."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, {"Retry-After": "1"})


class TooLate(ServingError):  # noqa: N818
    """An answer that was not ready before the request's deadline."""

    status = 504


def failed(request_id: str) -> ServingError:
    """Returns the answer where the server itself is at fault: what went wrong is in its log alone."""
    return ServingError(f"The server failed. Its log says why, at {request_id}.")


def short(value: Any) -> str:
    """Returns the beginning of a value, for an error: a name or a number is whole, a file never is."""
    text = repr(value[:40] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
