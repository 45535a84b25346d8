"""Who may ask the server, and what one client can do to the others."""

import asyncio
import base64
import contextlib
import http.client
import io
import json
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tiny_exports import images_of, png, write_export

import kzoo
from kzoo.serving import Limits
from kzoo.serving.settings import Settings

V1 = "/v1/models/tiny:predict"
KEY = "a key of more than sixteen"
BODY = json.dumps({"instances": images_of(1).tolist()})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:99", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("192.168.7.5", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("localhost@evil.example", 403),
    ],
)
@pytest.mark.parametrize("path", ["/v2/models/tiny", "/metrics", "/"])
def test_host_of_another_name_is_refused(host, status, path, tiny_server):
    assert tiny_server.request("GET", path, headers={"Host": host})[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://evil.example", 403), ("null", 403), ("http://127.0.0.1", 403), (None, 200)],
)
def test_pages_of_other_origins_are_refused(origin, status, tiny_server):
    headers = {"Content-Type": "text/plain", **({"Origin": origin} if origin else {})}
    answered, given, _ = tiny_server.whole("POST", V1, BODY, headers)
    assert answered == status
    assert "Access-Control-Allow-Origin" not in given


def test_own_page_is_answered(tiny_server):
    own = f"http://127.0.0.1:{tiny_server.port}"
    assert tiny_server.whole("POST", V1, BODY, {"Origin": own})[0] == 200


def test_allowed_host_and_origin_are_answered(tiny_exports, run_server):
    options = ["--allow-host", "models.example", "--allow-origin", "https://page.example", "--versions", "1"]
    with run_server(tiny_exports, *options) as server:
        assert server.request("GET", "/v2", headers={"Host": "models.example:80"})[0] == 200
        assert server.request("GET", "/v2", headers={"Host": "other.example"})[0] == 403
        page = {"Origin": "https://page.example"}
        status, headers, _ = server.whole("POST", V1, BODY, page)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://page.example")
        asked = {**page, "Access-Control-Request-Method": "POST"}
        status, headers, _ = server.whole("OPTIONS", V1, headers=asked)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://page.example")
        assert "Content-Type" in headers["Access-Control-Allow-Headers"]
        assert server.whole("OPTIONS", V1, headers={"Origin": "https://other.example"})[0] == 403
        assert server.request("GET", "/v1/models/tiny/versions/1")[0] == 404  # the newest alone


def test_key_is_asked_for(tiny_exports, run_server):
    with run_server(tiny_exports, KZOO_API_KEY=KEY) as server:
        for headers in ({}, {"Authorization": "Bearer other"}, {"X-API-Key": KEY[:-1]}, {"Authorization": KEY}):
            status, given, content = server.whole("POST", V1, BODY, headers)
            assert (status, given["WWW-Authenticate"]) == (401, "Bearer")
            assert KEY not in content.decode()
        assert server.whole("POST", V1, BODY, {"Authorization": f"Bearer {KEY}"})[0] == 200
        assert server.whole("POST", V1, BODY, {"X-API-Key": KEY})[0] == 200
        assert [server.request("GET", path)[0] for path in ("/v2", "/metrics", "/about.json")] == [401] * 3
        assert [server.request("GET", path)[0] for path in ("/v2/health/ready", "/", "/page.js")] == [200] * 3
        assert KEY not in server.said()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1"])
def test_other_machines_need_a_key(host):
    with pytest.raises(ValueError, match=r"must be this machine's own.*variable KZOO_API_KEY.*export KZOO_API_KEY="):
        Settings(host, 8080).check_reach()
    Settings(host, 8080, key=KEY).check_reach()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_none(host):
    Settings(host, 8080).check_reach()


def test_serve_beyond_this_machine_without_a_key_is_refused(tiny_exports, monkeypatch, free_port):
    monkeypatch.delenv("KZOO_API_KEY", raising=False)
    with pytest.raises(ValueError, match="Received: host='0.0.0.0' without a key"):
        kzoo.serve(tiny_exports, host="0.0.0.0", port=free_port)


@pytest.mark.parametrize("key", ["short", "\u00e9" * 20])
def test_weak_key_is_refused(key):
    with pytest.raises(ValueError, match="KZOO_API_KEY must be at least 16 characters of ASCII. Received: "):
        Settings("127.0.0.1", 8080, key=key)


@pytest.mark.parametrize("name", ["allow_hosts", "allow_origins"])
@pytest.mark.parametrize("value", [[3], ["*"], ["http://a b"], None])
def test_allowed_names_that_are_none_are_told(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be strings, each .*Received: {name}="):
        Settings("127.0.0.1", 8080, **{name: value})


def opened(server, content):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(content)
    return connection


def seconds_until_closed(connection):
    start = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return time.monotonic() - start


def descriptors(server):
    import os

    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


HEAD = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n"


def test_slow_clients_are_closed_and_hold_up_nobody(tiny_exports, run_server):
    with run_server(tiny_exports, "--header-seconds", "1", "--body-seconds", "1") as server:
        before = descriptors(server)
        slow = [opened(server, HEAD) for _ in range(100)]
        slow += [opened(server, b"") for _ in range(50)]
        slow += [opened(server, HEAD + b"\r\n" + HEAD) for _ in range(50)]  # one request, and half of a second
        posted = [opened(server, b"POST" + HEAD[3:] + b"Content-Length: 9\r\n\r\n1234") for _ in range(50)]
        assert server.whole("POST", V1, BODY)[0] == 200
        assert max(map(seconds_until_closed, slow)) < 10
        assert b"408" in posted[0].recv(4096)
        for connection in (*slow, *posted):
            connection.close()
        time.sleep(0.5)
        assert descriptors(server) <= before + 2
        assert server.whole("POST", V1, BODY)[0] == 200


def unread(server, requests):
    """A connection whose client asks, and reads nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * requests)
    return connection


def test_clients_that_do_not_read_are_closed_and_hold_no_connection(tiny_exports, run_server):
    with run_server(tiny_exports, "--max-connections", "5", "--body-seconds", "1") as server:
        time.sleep(0.2)
        kept = [unread(server, 300) for _ in range(5)]  # more answers than the system takes for a client
        time.sleep(0.5)
        with pytest.raises(ConnectionError):
            server.request("GET", "/v2")
        end, status = time.monotonic() + 15, None
        while status is None and time.monotonic() < end:
            with contextlib.suppress(ConnectionError):
                status = server.request("GET", "/v2")[0]
            time.sleep(0.1)
        for connection in kept:
            connection.close()
        assert status == 200


def test_client_that_reads_slowly_gets_its_whole_answer(tiny_exports, run_server):
    with run_server(tiny_exports, "--body-seconds", "2") as server, unread(server, 40) as connection:
        whole, page = b"", server.whole("GET", "/page.js")[2]
        while whole.count(page) < 40 and (part := connection.recv(1 << 14)):
            whole += part
            time.sleep(0.001)
        assert whole.count(page) == 40


def keep_sending(connection, content, seconds, times):
    for _ in range(times):
        connection.sendall(content)
        time.sleep(seconds)


def test_trickled_headers_end_in_time(tiny_exports, run_server):
    with run_server(tiny_exports, "--header-seconds", "1") as server:
        start = time.monotonic()
        with opened(server, HEAD) as connection, pytest.raises(ConnectionError):
            keep_sending(connection, b"X-A: 1\r\n", 0.1, 200)
        assert time.monotonic() - start < 10


def test_endless_headers_are_cut_off(tiny_server):
    with opened(tiny_server, HEAD) as connection, pytest.raises(ConnectionError):
        keep_sending(connection, b"X-A: " + b"a" * 10_000 + b"\r\n", 0.001, 1000)


def test_connections_are_limited(tiny_exports, run_server):
    with run_server(tiny_exports, "--max-connections", "5") as server:
        time.sleep(0.2)
        kept = [opened(server, HEAD) for _ in range(5)]
        time.sleep(0.2)
        with opened(server, HEAD + b"\r\n") as refused:
            assert seconds_until_closed(refused) < 5
        for connection in kept:
            connection.close()
        time.sleep(0.2)
        assert server.request("GET", "/v2")[0] == 200


def large_png(side):
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_pixels_of_a_request_are_limited(tiny_server):
    instances = [{"b64": base64.b64encode(large_png(4000)).decode()}] * 3
    status, answer = tiny_server.post(V1, {"instances": instances})
    message = (
        "The images of a request must have at most 40,000,000 pixels together. Received: 48,000,000 up to image 2."
    )
    assert (status, answer["error"]) == (400, message)


def test_large_images_do_not_hold_up_small_requests(tiny_server):
    instances = [{"b64": base64.b64encode(large_png(2000)).decode()}] * 10
    body = json.dumps({"instances": instances})
    done = []
    threads = [threading.Thread(target=lambda: done.append(tiny_server.whole("POST", V1, body)[0])) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    waits = []
    while any(thread.is_alive() for thread in threads) and len(waits) < 50:
        start = time.monotonic()
        assert tiny_server.whole("POST", V1, BODY)[0] == 200
        waits.append(time.monotonic() - start)
    for thread in threads:
        thread.join()
    assert done == [200, 200]
    assert float(np.median(waits)) < 1
    assert max(waits) < 5


def test_compressed_body_is_refused(tiny_server):
    status, answer = tiny_server.post(V1, b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert (status, answer["error"]) == (415, "The body must not be compressed.")


@pytest.fixture(scope="module")
def keyed_server(tiny_exports, run_server):
    with run_server(tiny_exports, KZOO_API_KEY=KEY) as server:
        yield server


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Content-Encoding": "gzip"}, 415),
        ({"X-API-Key": "wrong"}, 401),
        ({}, 400),
    ],
    ids=str,
)
def test_large_body_that_is_refused_gets_its_answer(changes, status, keyed_server):
    for _ in range(3):
        answered, answer = keyed_server.post(V1, bytes(8 << 20), {"X-API-Key": KEY, **changes})
        assert (answered, list(answer)) == (status, ["error"])


def test_body_that_is_refused_is_not_read_for_ever(tiny_exports, run_server):
    with run_server(tiny_exports, "--body-seconds", "1") as server:
        head = b"POST /v2 HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 99\r\n\r\n12"
        with opened(server, head) as connection:
            assert b" 403 " in connection.recv(4096)


def test_bodies_that_fill_the_memory_are_read_and_told_to_come_again(monkeypatch):
    pytest.importorskip("prometheus_client")
    from kzoo.serving import guard

    monkeypatch.setattr(guard, "_HELD_BYTES", 10)
    arriving = [{"body": b"123456", "more_body": True}, {"body": b"7890ab", "more_body": True}, {"body": b"c"}]
    sent = []

    async def receive():
        return {"type": "http.request", **arriving.pop(0)}

    async def send(message):
        sent.append(message)

    bodies = guard.Bodies(None, Limits())
    asyncio.run(bodies({"type": "http", "headers": [], "kzoo": {}}, receive, send))
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"1")
    assert arriving == []
    assert bodies._held == 0


def test_full_queue_says_when_to_come_again(tmp_path, run_server):
    pytest.importorskip("openvino")
    write_export(tmp_path, delay=3)
    with run_server(tmp_path, "--max-queue", "2", "--max-together", "1") as server:
        answers = []
        lock = threading.Lock()

        def ask():
            status, headers, content = server.whole("POST", V1, BODY)
            with lock:
                answers.append((status, headers.get("Retry-After"), content))

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kinds = {(status, after) for status, after, _ in answers}
        assert kinds == {(200, None), (503, "1")}
        assert server.whole("POST", V1, BODY)[0] == 200


def test_odd_requests_are_answered_and_logged_as_what_they_are(tiny_exports, run_server):
    with run_server(tiny_exports, "--log-format", "text") as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            connection.request("BREW", "/v2")
            assert connection.getresponse().status in (400, 405)
        assert server.request("GET", "/v1/models/%0a%1b[31m")[0] == 404
        forged = "6.6.6.6 GET /admin 200 1.0 ms \x9b31m\x85"
        headers = {"X-Forwarded-For": forged, "X-Request-ID": "\x9b31m", "User-Agent": forged}
        assert server.whole("GET", "/v2/health/live", headers=headers)[0] == 200
    lines = [line for line in server.output.splitlines() if "/v2/health/live" in line]
    assert [line.split()[2:5] for line in lines] == [["127.0.0.1", "GET", "/v2/health/live"]]
    assert "6.6.6.6" not in server.output
    assert not [letter for letter in server.output if (letter < " " and letter != "\n") or "\x7f" <= letter < "\xa0"]


def test_text_log_has_no_control_characters_whatever_a_request_brings():
    import logging

    from kzoo.serving import logs

    controls = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
    request = {"client": controls, "method": f"GET{controls}", "path": f"/a{controls}b", "status": 200}
    request |= {"milliseconds": 1.5, "request_id": f"seven{controls}"}
    found = logging.makeLogRecord({"levelname": "INFO", "created": 0, "request": request})
    line = logs._AsText().format(found)
    assert line == "1970-01-01T00:00:00.000+00:00 info  GET /ab 200 1.5 ms seven"
    try:
        raise ValueError(f"the name was {controls}")
    except ValueError as error:
        told = logging.makeLogRecord({"msg": f"odd{controls}", "created": 0, "exc_info": (ValueError, error, None)})
    assert not set(logs._AsText().format(told)) & (set(controls) - {"\n"})


def asked_in_process(app, method="GET", path="/metrics", headers=()):
    """Sends one request to an ASGI application; returns what it sends back."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"http_version": "1.1", "scheme": "http", "root_path": "", "client": None, "server": None}
    scope["headers"] = [(b"host", b"localhost"), *headers]
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("place", ["endpoint", "gate"])
def test_error_of_the_server_itself_is_told_by_its_id_alone(place, monkeypatch, caplog):
    pytest.importorskip("prometheus_client")
    from kzoo.serving import app, guard
    from kzoo.serving.answers import Service
    from kzoo.serving.metrics import Metrics

    def broken(*_):
        raise RuntimeError("the body was: secret")

    metrics = Metrics()
    monkeypatch.setattr(*((metrics, "text") if place == "endpoint" else (guard.Gate, "_check_host")), broken)
    application = app.application(Service(None, None, Limits(), metrics), Settings("127.0.0.1", 8080))
    start, end = asked_in_process(application, headers=[(b"x-request-id", b"seven")])
    assert (start["status"], dict(start["headers"])[b"x-request-id"]) == (500, b"seven")
    assert dict(start["headers"])[b"content-type"] == b"application/json"
    assert json.loads(end["body"]) == {"error": "The server failed. Its log says why, at seven."}
    assert caplog.text.count("Traceback") == 1  # where the secret is
    assert caplog.text.count("RuntimeError: the body was: secret") == 1
    monkeypatch.undo()
    assert b'status="500"' in metrics.text()[0]


def test_file_that_cannot_be_decoded_is_told(tiny_server):
    broken = png(images_of(1)[0])[:-40]
    status, answer = tiny_server.post(V1, {"instances": [{"b64": base64.b64encode(broken).decode()}]})
    assert (status, "'image 0' must be a readable image file." in answer["error"]) == (400, True)
