"""What requests to the server may cost."""

import dataclasses

from kzoo.arguments import integer, number


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may cost, and all of them together.

    Args:
        body_bytes: Integer, the largest body. Defaults to 16 MiB.
        batch: Integer, the most images in one request. Defaults to `128`.
        pixels: Integer, the largest image to decode, width times height. Defaults to 20 million.
        request_pixels: Integer, the most pixels of all images of one request, and of all that are decoded at once.
            Defaults to 40 million.
        queue: Integer, the most requests that are being answered or wait for it; further ones are told to come again.
            Defaults to `256`.
        connections: Integer, the most connections; further ones are closed. Defaults to `512`.
        deadline_seconds: Number, after which a request that is not answered yet is given up, from when its body is
            there. A request may name an earlier one. Defaults to `30`.
        header_seconds: Number, within which the headers of a request must arrive. Defaults to `10`.
        body_seconds: Number, within which the body must follow, and within which a client must read what is sent to
            it. Defaults to `30`.
        together: Integer, the most images of waiting requests that the model is asked about at once. Defaults to `8`;
            with `1` each request is computed by itself.
        wait_milliseconds: Number, how long a request waits for others to be computed together with. Defaults to `0`:
            those that wait already go together.

    Raises:
        ValueError: If an integer is none or below 1, or a time is no number above 0 (`wait_milliseconds` may be 0).
    """

    body_bytes: int = 16 << 20
    batch: int = 128
    pixels: int = 20_000_000
    request_pixels: int = 40_000_000
    queue: int = 256
    connections: int = 512
    deadline_seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    together: int = 8
    wait_milliseconds: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int:
                checked: float = integer(value, field.name, least=1)
            else:
                checked = number(value, field.name)
                if not (checked > 0 or (checked == 0 and field.name == "wait_milliseconds")):
                    raise ValueError(f"`{field.name}` must be above 0. Received: {field.name}={value!r}.")
            object.__setattr__(self, field.name, checked)
