"""JSON from and to clients."""

import json
from typing import Any

from kzoo.serving.errors import BadRequest


def read_json(body: bytes, most: int) -> Any:
    """Reads the JSON of a body, whatever its content type says.

    Args:
        body: Bytes.
        most: Integer, how many lists and objects there may be in it: each takes twenty times the memory of its text.

    Raises:
        BadRequest: If it is no JSON, nested deeper than any request is, or has more lists and objects than that.
    """
    if (found := body.count(b"[") + body.count(b"{")) > most:
        raise BadRequest(f"The body must be JSON of at most {most:,} lists and objects. Received: {found:,}.")
    try:
        return json.loads(body, parse_constant=_refuse)
    except BadRequest:
        raise
    except RecursionError:
        raise BadRequest("The body must be JSON that is not nested that deep.") from None
    except json.JSONDecodeError as error:  # its message names what was expected, and where
        raise BadRequest(f"The body must be JSON. Received: {error.msg} at byte {error.pos}.") from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body must be JSON in UTF-8. Received: other bytes at {error.start}.") from None
    except ValueError:  # an integer of thousands of digits
        raise BadRequest("The body must be JSON with numbers of at most 4,300 digits.") from None


def write_json(content: Any) -> bytes:
    """Returns content as JSON."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _refuse(name: str) -> Any:
    raise BadRequest(f"The body must be JSON, which has no {name}.")
