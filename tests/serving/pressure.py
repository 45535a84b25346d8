"""Keeps a server busy from many connections while versions come and go, and looks at its memory: not a test of CI.

    python tests/serving/pressure.py EXPORTS NAME [--clients 16] [--requests 5000] [--churn] [options of kzoo serve]

EXPORTS is copied: with --churn the newest version is added again under higher numbers, and the oldest is taken away,
all the time. Each answer is compared with the first one for its image. What it prints is one line of JSON: requests a
second, p50 and p99, errors, resident memory and descriptors in thirds of the run.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path)
    parser.add_argument("name")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--churn", action="store_true")
    arguments, options = parser.parse_known_args()
    return arguments, [option for option in options if option != "--"]


def started(folder, options):
    """Runs the server, and waits for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kzoo.cli", "serve", str(folder), "--port", str(port), "--watch", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            return server, port, asked(http.client.HTTPConnection("127.0.0.1", port), "GET", "/about.json")[1]
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("The server did not start.")


def asked(connection, method, path, body=None):
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    return response.status, json.loads(content) if response.status == 200 else content.decode()


def churn(folder, stop):
    """Adds the newest version under a higher number and takes the oldest away, until it is told to stop."""
    changes = 0
    while not stop.wait(1.5):
        versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        new = folder / f".{versions[-1] + 1}"
        shutil.copytree(folder / str(versions[-1]), new)
        card = json.loads((new / "card.json").read_text())
        (new / "card.json").write_text(json.dumps({**card, "version": versions[-1] + 1}))
        new.rename(folder / str(versions[-1] + 1))
        if len(versions) > 1:
            shutil.rmtree(folder / str(versions[0]))
        changes += 1
    return changes


def main():
    arguments, options = parse_arguments()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / arguments.name
        shutil.copytree(arguments.exports / arguments.name, folder)
        server, port, about = started(folder, options)
        height, width, channels = about["models"][0]["versions"][-1]["shape"]
        images = np.random.RandomState(0).randint(0, 256, (32, height, width, channels))
        bodies = [json.dumps({"instances": [image]}).encode() for image in images.tolist()]
        path, local, stop = f"/v1/models/{arguments.name}:predict", threading.local(), threading.Event()
        truth = [None] * len(bodies)
        looks = []

        def ask(index):
            if not hasattr(local, "connection"):
                local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            start = time.perf_counter()
            status, answer = asked(local.connection, "POST", path, bodies[index % len(bodies)])
            seconds = time.perf_counter() - start
            if index % 200 == 0:
                resident = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096
                looks.append((resident, len(os.listdir(f"/proc/{server.pid}/fd"))))
            return seconds, status, answer["predictions"][0]["logits"] if status == 200 else None

        try:
            for index in range(len(bodies)):
                truth[index] = ask(index)[2]
            looks.clear()
            with concurrent.futures.ThreadPoolExecutor(arguments.clients + 1) as pool:
                changes = pool.submit(churn, folder, stop) if arguments.churn else None
                start = time.perf_counter()
                found = list(pool.map(ask, range(arguments.requests)))
                total = time.perf_counter() - start
                stop.set()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
    scale = np.abs(truth).max()
    right = [
        status == 200 and np.abs(np.subtract(logits, truth[index % len(truth)])).max() <= 1e-4 * scale
        for index, (_, status, logits) in enumerate(found)
    ]
    thirds = np.array_split(np.array(looks), 3)
    p50, p99 = np.percentile([1e3 * seconds for seconds, _, _ in found], [50, 99])
    said = {
        "requests": len(found),
        "wrong": right.count(False),
        "statuses": sorted({status for _, status, _ in found}),
        "a_second": round(len(found) / total),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "changes_of_version": changes.result() if changes else 0,
        "resident_mb_in_thirds": [round(float(third[:, 0].mean()) / 1e6, 1) for third in thirds],
        "descriptors_in_thirds": [round(float(third[:, 1].mean()), 1) for third in thirds],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
