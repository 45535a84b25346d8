"""One line a request, and the server's own words, as JSON for programs or as text for people."""

import contextlib
import datetime
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, get_args

from kzoo.choices import LogFormat, check_choice

FORMATS: tuple[str, ...] = get_args(LogFormat)
REQUESTS = logging.getLogger("kzoo.serving.requests")
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)))  # a terminal obeys them
_OTHERS = ("kzoo.serving", "uvicorn.error")


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        about: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower()}
        about |= getattr(record, "request", None) or {"message": record.getMessage()}
        if record.exc_info:
            about["traceback"] = self.formatException(record.exc_info)
        return json.dumps(about)


class _AsText(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        request = getattr(record, "request", None)
        if request is None:
            words = record.getMessage()
        else:
            words = "{client} {method} {path} {status} {milliseconds} ms {request_id}".format(**request)
        lines = [f"{_time(record)} {record.levelname.lower()} {words}"]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        return "\n".join(line.translate(_CONTROLS) for line in lines)


@contextlib.contextmanager
def logging_to_stdout(kind: str) -> Iterator[None]:
    """Writes what the server logs to standard output meanwhile, as `"text"` or `"json"`."""
    check_choice("log_format", kind, FORMATS)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_AsJson() if kind == "json" else _AsText())
    loggers = [logging.getLogger(name) for name in _OTHERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
