"""What a request to the server may cost."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Args:
        body_bytes: Integer, the largest body. Defaults to 16 MiB.
        batch: Integer, the most images in one request. Defaults to `128`.
        pixels: Integer, the largest image to decode, width times height. Defaults to 20 million.

    Raises:
        ValueError: If a limit is below 1.
    """

    body_bytes: int = 16 << 20
    batch: int = 128
    pixels: int = 20_000_000

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}.")
