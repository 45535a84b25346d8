"""What a request to the server may cost."""

import dataclasses

from kzoo.arguments import integer


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Args:
        body_bytes: Integer, the largest body. Defaults to 16 MiB.
        batch: Integer, the most images in one request. Defaults to `128`.
        pixels: Integer, the largest image to decode, width times height. Defaults to 20 million.

    Raises:
        ValueError: If a limit is no integer, or below 1.
    """

    body_bytes: int = 16 << 20
    batch: int = 128
    pixels: int = 20_000_000

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            object.__setattr__(self, name, integer(value, name, least=1))
