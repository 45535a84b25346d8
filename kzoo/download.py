"""Downloads that resume, and that are verified before they count."""

import contextlib
import dataclasses
import hashlib
import http.client
import io
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kzoo.durable import is_same_file, opened_alone, put_in_place

_ATTEMPTS = 5
_BACKOFF_SECONDS = 1.0  # doubled after each failure
_CHUNK_BYTES = 1 << 18
_SHA256 = re.compile("[0-9a-fA-F]{8,64}")
_RETRIED_STATUS = {408, 429, *range(500, 600)}


class DownloadError(OSError):
    """A download that failed: no network, an answer that cannot be used, or content other than expected."""


class _InterruptedError(Exception):
    """An attempt that broke off, and that another may continue."""


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's content, in lower-case hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(received: str, sha256: str) -> bool:
    """Tells whether a whole SHA-256 is the expected one, of which perhaps only the beginning is known."""
    return received.startswith(sha256.lower())


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str,
    size_bytes: int | None = None,
    timeout_seconds: float = 30,
    progress: bool = True,
) -> Path:
    """Downloads a file, unless it is there already.

    The content is collected in `path` + `.part`, which outlives a failure, unless it is empty, and is continued by
    the next attempt or call; it is renamed to `path` once its SHA-256 is right. A second process that wants the same
    file waits for the first and then uses what it got.

    Args:
        url: String, of scheme http, https or file.
        path: Path of the file to write. Its folder is made where it is missing.
        sha256: String, the expected SHA-256 in hexadecimal digits; or, where no more is published, its first 8 or more
            (8 tell a broken file from a whole one, but not one that was made to have them).
        size_bytes: Integer, the expected size, or `None` to believe the server. Defaults to `None`.
        timeout_seconds: Float, how long to wait for the server each time before trying again. Defaults to `30`.
        progress: Boolean, whether to show a bar on the standard error stream. Defaults to `True`.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        ValueError: If the scheme is another, or `sha256` is none.
        FileExistsError: If `path` is there with another content. It is not touched.
        DownloadError: If the file cannot be had, or is not what it should be.
        OSError: If the file cannot be written, for example to a full disk.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
        raise ValueError(f"`url` must start with http://, https:// or file://. Received: url={url!r}.")
    if not _SHA256.fullmatch(sha256):
        raise ValueError(
            f"`sha256` must be 64 hexadecimal digits, or the first 8 or more. Received: sha256={sha256!r}."
        )
    from tqdm import tqdm

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_present(path, sha256):
        return path
    with _locked(path.with_name(f"{path.name}.part")) as part:
        if _is_present(path, sha256):  # another process finished it meanwhile
            Path(part.name).unlink()
            return path
        with tqdm(total=size_bytes, unit="B", unit_scale=True, desc=path.name, disable=not progress) as bar:
            _Transfer(url, path, part, size_bytes, timeout_seconds, bar).run()
        received = sha256_of(part.name)
        if not matches(received, sha256):
            Path(part.name).unlink()
            raise DownloadError(
                f"The file at {url} must have the SHA-256 {sha256}. Received: {received} "
                f"({part.tell()} bytes, removed). Try again, or put the right file at {path}."
            )
        put_in_place(Path(part.name), path)
    return path


def _is_present(path: Path, sha256: str) -> bool:
    if not path.exists():
        return False
    received = sha256_of(path)
    if not matches(received, sha256):
        raise FileExistsError(
            f"{str(path)!r} must not exist, or have the SHA-256 {sha256}. Received: {received}. Move it away first."
        )
    return True


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[io.FileIO]:
    """Opens `part` for appending once no other process has it. The lock dies with its process.

    After a failure a `part` without content is removed: there is nothing to continue from.
    """
    with opened_alone(part) as file:
        try:
            yield file
        except BaseException:
            if not file.tell() and is_same_file(file, part):
                part.unlink()
            raise


@dataclasses.dataclass
class _Transfer:
    """Fills `part`, appended to by each attempt, with the content of `url`."""

    url: str
    path: Path
    part: io.FileIO
    size_bytes: int | None
    timeout_seconds: float
    bar: Any

    def run(self) -> None:
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
            if self.size_bytes is not None and self.part.tell() > self.size_bytes:
                self._restart()
            if self.part.tell() == self.size_bytes:
                return
            try:
                self._attempt()
                return
            except _InterruptedError as interruption:
                reason = str(interruption)
        raise self._failure(f"{reason}, after {_ATTEMPTS} attempts")

    def _attempt(self) -> None:
        start = self.part.tell()
        request = urllib.request.Request(self.url, headers={"User-Agent": "kzoo"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:
                self._receive(answer, start)
        except urllib.error.HTTPError as error:
            with error:  # it is an open answer, too
                reason = f"HTTP status {error.code} {error.reason}"
            if error.code == 416 and error.headers["Content-Range"] == f"bytes */{start}":
                return  # all of it is here already
            if error.code == 416 and start:  # what is here cannot be the beginning of what the server has
                self._restart()
            elif error.code not in _RETRIED_STATUS:
                raise self._failure(reason) from error
            raise _InterruptedError(reason) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError | ConnectionError):
                raise _InterruptedError(str(error.reason)) from error
            raise self._failure(str(error.reason)) from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _InterruptedError(str(error) or type(error).__name__) from error

    def _receive(self, answer: Any, start: int) -> None:
        if start and not _continues(answer, start):
            self._restart()
            start = 0
            if answer.status == 206:
                raise _InterruptedError("another part of the file than was asked for")
        total = int(answer.headers["Content-Length"]) + start if "Content-Length" in answer.headers else None
        if None not in (self.size_bytes, total) and self.size_bytes != total:
            raise self._failure(f"a file of {total} bytes instead of {self.size_bytes}")
        total = self.size_bytes if total is None else total
        self.bar.total, self.bar.n = total, start
        while chunk := answer.read1(_CHUNK_BYTES):
            if total is not None and self.part.tell() + len(chunk) > total:
                self._restart()
                raise self._failure(f"more than the {total} bytes of the file")
            self._append(chunk)
            self.bar.update(len(chunk))
        if total is not None and self.part.tell() < total:
            raise _InterruptedError(f"the connection closed after {self.part.tell()} of {total} bytes")

    def _append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self.part.write(rest) :]
        except OSError as error:
            message = f"{error.strerror}, after {self.part.tell()} bytes, which are kept to continue from"
            raise OSError(error.errno, message, str(self.part.name)) from error

    def _restart(self) -> None:
        self.part.truncate(0)
        self.part.seek(0)

    def _failure(self, reason: str) -> DownloadError:
        kept = self.part.tell()
        return DownloadError(
            f"`url` must be reachable and as expected. Received: {reason}, from {self.url}. "
            + (f"The {kept} bytes in {self.part.name} are kept to continue from. " if kept else "")
            + f"You can also get the file elsewhere and put it at {self.path}."
        )


def _continues(answer: Any, start: int) -> bool:
    return answer.status == 206 and str(answer.headers["Content-Range"]).startswith(f"bytes {start}-")
