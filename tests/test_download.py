import concurrent.futures
import errno
import hashlib
import http.server
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kzoo import download as module
from kzoo.download import DownloadError, download, sha256_of

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Answer = Callable[[http.server.BaseHTTPRequestHandler, int], None]


class Server(http.server.ThreadingHTTPServer):
    """Gives the answers of a script, one a request and the last one for ever, and notes the ranges asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = [whole]
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requests = self.server.ranges
        requests.append(self.headers["Range"])
        script = self.server.script
        script[min(len(requests), len(script)) - 1](self, _start(self.headers["Range"]))

    def log_message(self, *_: object) -> None:
        pass


def _start(header: str | None) -> int:
    return int(header.removeprefix("bytes=").removesuffix("-")) if header else 0


def _send(handler: http.server.BaseHTTPRequestHandler, status: int, data: bytes, **headers: object) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": len(data)} | headers).items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(data)


def ranged(handler, start):
    total = len(CONTENT)
    if start >= total:
        return _send(handler, 416, b"", Content_Range=f"bytes */{total}")
    if start:
        return _send(handler, 206, CONTENT[start:], Content_Range=f"bytes {start}-{total - 1}/{total}")
    return _send(handler, 200, CONTENT)


def whole(handler, start):  # ignores Range
    _send(handler, 200, CONTENT)


def truncated(handler, start):  # 60,000 bytes further each time
    _send(handler, 206 if start else 200, b"", **{"Content-Length": len(CONTENT) - start}, **_range(start))
    handler.wfile.write(CONTENT[start : start + 60_000])


def _range(start: int) -> dict[str, str]:
    return {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}


def stalled(handler, start):
    truncated(handler, start)
    time.sleep(1)


def status(code: int) -> Answer:
    return lambda handler, start: _send(handler, code, b"")


def redirect(handler, start):
    handler.server.script = [redirect, ranged]
    _send(handler, 302, b"", Location="/elsewhere.bin")


def endless(handler, start):  # no length, and more than there should be
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT + b"more")


def longer(handler, start):
    _send(handler, 200, CONTENT + b"more")


def other_part(handler, start):
    _send(handler, 206, CONTENT, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_BACKOFF_SECONDS", 0.01)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "new folder" / "file.bin"


def get(server: Server, path: Path, **arguments: object) -> Path:
    return download(server.url, path, **{"sha256": SHA256, "progress": False, "timeout_seconds": 0.5} | arguments)


def part_of(path: Path, content: bytes | None = None) -> Path:
    part = path.with_name("file.bin.part")
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
    return part


@pytest.mark.parametrize("size_bytes", [None, len(CONTENT)])
@pytest.mark.parametrize(
    "script",
    [
        [whole],
        [ranged],
        [redirect],
        [truncated],
        [truncated, whole],
        [stalled, ranged],
        [truncated, other_part, ranged],
        [status(500), status(503), ranged],
        [status(429), ranged],
    ],
    ids=lambda script: "-".join(getattr(answer, "__name__", "?") for answer in script),
)
def test_download_gets_the_file(server, path, script, size_bytes):
    server.script = script
    assert get(server, path, size_bytes=size_bytes).read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file.bin"]


def test_download_continues_where_it_was_interrupted(server, path):
    server.script = [truncated, ranged]
    get(server, path)
    assert server.ranges == [None, "bytes=60000-"]


def test_download_continues_what_an_earlier_call_left(server, path):
    server.script = [ranged]
    part_of(path, CONTENT[:1234])
    assert get(server, path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1234-"]


def test_download_starts_again_where_the_server_ignores_range(server, path):
    part_of(path, CONTENT[:1234])
    assert get(server, path).read_bytes() == CONTENT


def test_download_of_a_complete_part_asks_for_nothing(server, path):
    part_of(path, CONTENT)
    get(server, path, size_bytes=len(CONTENT))
    assert server.ranges == []


def test_download_of_a_complete_part_of_unknown_size_believes_416(server, path):
    server.script = [ranged]
    part_of(path, CONTENT)
    get(server, path)
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("size_bytes", [None, len(CONTENT)])
def test_download_drops_a_part_that_is_too_long(server, path, size_bytes):
    server.script = [ranged]
    part_of(path, CONTENT + b"?")
    assert get(server, path, size_bytes=size_bytes).read_bytes() == CONTENT


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_download_gives_up_at_once_where_there_is_no_file(server, path, code):
    server.script = [status(code)]
    with pytest.raises(DownloadError, match=rf"Received: HTTP status {code} .*{server.url}.*put it at .*file\.bin"):
        get(server, path)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("answer", [status(500), stalled], ids=["status 500", "stalled"])
def test_download_gives_up_after_some_attempts(server, path, answer, monkeypatch):
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    server.script = [answer]
    with pytest.raises(DownloadError, match="after 2 attempts"):
        get(server, path, timeout_seconds=0.1)
    assert len(server.ranges) == 2


def test_download_keeps_what_it_got_when_it_gives_up(server, path):
    server.script = [truncated, status(500)]
    with pytest.raises(DownloadError, match=r"The 60000 bytes in .*file\.bin\.part are kept"):
        get(server, path)
    assert part_of(path).read_bytes() == CONTENT[:60_000]


@pytest.mark.parametrize("answer", [endless, longer])
def test_download_stops_where_more_comes_than_expected(server, path, answer):
    server.script = [answer]
    with pytest.raises(DownloadError, match=f"{len(CONTENT)}"):
        get(server, path, size_bytes=len(CONTENT))
    assert os.listdir(path.parent) == []


def test_download_rejects_a_wrong_size_before_it_receives(server, path):
    with pytest.raises(DownloadError, match=f"a file of {len(CONTENT)} bytes instead of 99"):
        get(server, path, size_bytes=99)
    assert os.listdir(path.parent) == []


def test_download_rejects_another_content_and_removes_it(server, path):
    with pytest.raises(DownloadError, match=f"must have the SHA-256 {'0' * 64}. Received: {SHA256}"):
        get(server, path, sha256="0" * 64)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("digits", [8, 12, 63])
def test_download_takes_the_beginning_of_a_sha256(server, path, digits):
    assert get(server, path, sha256=SHA256[:digits].upper()).read_bytes() == CONTENT
    with pytest.raises(FileExistsError, match=r"must not exist, or have the SHA-256 00000000\."):
        get(server, path, sha256="00000000")


def test_download_rejects_another_beginning_of_the_sha256(server, path):
    with pytest.raises(DownloadError, match=f"must have the SHA-256 00000000. Received: {SHA256}"):
        get(server, path, sha256="00000000")
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("sha256", ["", SHA256[:7], SHA256 + "0", "not a hash"])
def test_download_rejects_what_is_no_sha256(server, path, sha256):
    with pytest.raises(ValueError, match=f"`sha256` must be 64 hexadecimal digits.*Received: sha256='{sha256}'"):
        get(server, path, sha256=sha256)
    assert server.ranges == []


def test_download_leaves_a_right_file_alone(server, path):
    get(server, path)
    get(server, path)
    assert len(server.ranges) == 1


def test_download_does_not_touch_a_file_of_another_content(server, path):
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"file\.bin' must not exist, or have the SHA-256"):
        get(server, path)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/file.bin", "file.bin", "data:,x"])
def test_download_rejects_another_scheme(path, url):
    with pytest.raises(ValueError, match=f"`url` must start with http://.*Received: url='{url}'"):
        download(url, path, sha256=SHA256)


def test_download_copies_a_local_file(path, tmp_path):
    (tmp_path / "local.bin").write_bytes(CONTENT)
    url = (tmp_path / "local.bin").as_uri()
    assert download(url, path, sha256=SHA256, progress=False).read_bytes() == CONTENT


def test_download_names_a_local_file_that_is_missing(path, tmp_path):
    with pytest.raises(DownloadError, match=r"No such file .*local\.bin"):
        download((tmp_path / "local.bin").as_uri(), path, sha256=SHA256, progress=False)


def test_download_without_network_says_what_to_do(path):
    with pytest.raises(DownloadError, match=r"http://host\.invalid/file\.bin.*put it at .*file\.bin"):
        download("http://host.invalid/file.bin", path, sha256=SHA256, progress=False)
    assert os.listdir(path.parent) == []


def test_download_where_nothing_listens_says_so(path, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF_SECONDS", 0.0)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/file.bin"
    with pytest.raises(DownloadError, match="refused"):
        download(url, path, sha256=SHA256, progress=False)


def test_download_to_a_full_disk_names_the_file_and_keeps_what_fitted(server, path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 1000:
                data = data[: 1000 - self.tell()]
            if not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    monkeypatch.setattr(module.io, "FileIO", FullDisk)
    with pytest.raises(OSError, match=r"No space left on device, after 1000 bytes.*file\.bin\.part") as caught:
        get(server, path)
    assert caught.value.errno == errno.ENOSPC
    assert part_of(path).read_bytes() == CONTENT[:1000]


def test_download_shows_its_progress_on_standard_error(server, path, capsys):
    get(server, path, progress=True)
    output, errors = capsys.readouterr()
    assert output == ""
    assert "file.bin: 100%" in errors


def test_two_downloads_at_once_fetch_the_file_once(server, path):
    def slow(handler, start):
        time.sleep(0.2)
        ranged(handler, start)

    server.script = [slow]
    # The lock belongs to the open file: two threads stand for two processes.
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        results = [threads.submit(get, server, path) for _ in range(2)]
    assert [result.result() for result in results] == [path, path]
    assert os.listdir(path.parent) == ["file.bin"]
    assert len(server.ranges) == 1


def test_sha256_of_is_that_of_the_content(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # The first example of FIPS 180-2.
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
