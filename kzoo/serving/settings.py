"""Where a server listens, and who may ask it."""

import dataclasses
import ipaddress
import os
import re
import socket
from collections.abc import Iterable

from kzoo.arguments import integer, text

KEY = "KZOO_API_KEY"
_LEAST_KEY = 16


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where a server listens, and who may ask it.

    Args:
        host: String, the address to listen at.
        port: Integer.
        allow_hosts: Names by which the server may be asked, beside `localhost` and addresses.
        allow_origins: Origins whose pages may ask it, such as `https://example.org`.
        key: String that requests must bring, or `None`.

    Raises:
        ValueError: If one of them is none, or others than this machine could ask without a key.
    """

    host: str
    port: int
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    key: str | None = None

    def __post_init__(self) -> None:
        text(self.host, "host")
        object.__setattr__(self, "port", integer(self.port, "port"))
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"`port` must be between 1 and 65535. Received: port={self.port}.")
        object.__setattr__(self, "allow_hosts", _all(self.allow_hosts, "allow_hosts", r"[\w.-]+", "a name, no port"))
        origin = r"https?://[\w.-]+(:\d+)?/?"
        object.__setattr__(self, "allow_origins", _all(self.allow_origins, "allow_origins", origin, "http(s)://NAME"))
        if self.key is not None and (len(self.key) < _LEAST_KEY or not self.key.isascii()):
            raise ValueError(f"{KEY} must be at least {_LEAST_KEY} characters of ASCII. Received: {len(self.key)}.")

    @property
    def host_names(self) -> tuple[str, ...]:
        """What the server is called."""
        return (self.host, *self.allow_hosts)

    def check_reach(self) -> None:
        """Sees that nobody beyond this machine can ask without a key.

        Raises:
            ValueError: If the address is not this machine's alone and there is no key.
        """
        if self.key is None and not _is_loopback(self.host):
            raise ValueError(
                f"`host` must be this machine's own, such as 127.0.0.1, unless the environment variable {KEY} holds a "
                f"key that requests must bring. Received: host={self.host!r} without a key. Make one: "
                f"export {KEY}=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')"
            )

    def check_free(self) -> None:
        """Sees that the address can be listened at.

        Raises:
            OSError: If it is none of this machine's, or the port is taken.
        """
        try:
            self.host.encode("idna")  # or a socket is left open
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            socket.create_server((self.host, self.port), family=family).close()
        except (OSError, UnicodeError) as error:
            received = f"host={self.host!r}, port={self.port}: {error}."
            raise OSError(f"`host` and `port` must be free to listen at. Received: {received}") from error


def key_of_environment() -> str | None:
    """Returns the key that the environment holds, or `None`."""
    return os.environ.get(KEY) or None


def _all(given: object, name: str, pattern: str, expected: str) -> tuple[str, ...]:
    values = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if not all(isinstance(value, str) and re.fullmatch(pattern, value) for value in values):
        raise ValueError(f"`{name}` must be strings, each {expected}. Received: {name}={given!r}.")
    return tuple(str(value) for value in values)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
