"""Keeps a server busy from many connections while versions come and go, and looks at its memory: not a test of CI.

    python tests/serving/pressure.py EXPORTS NAME [--clients 16] [--requests 5000] [--churn] [options of kzoo serve]

EXPORTS is copied: with --churn the newest version is added again under higher numbers, and the oldest is taken away,
all the time. Each answer is compared with the first one for its image. What it prints is one line of JSON: requests a
second, p50 and p99, errors, resident memory and descriptors in thirds of the run. Before those are measured come
1,000 requests, and with --churn five changes of version: what a server takes for itself when it starts is no growth.

It ends with 1 if an answer is wrong, or memory in the last third is more than 5 % above that in the first.
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

WARM_REQUESTS, WARM_CHANGES = 1000, 5
MOST_GROWTH = 1.05


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


def churn(folder, changes, stop):
    """Adds the newest version under a higher number and takes the oldest away, until it is told to stop."""
    while not stop.wait(1.5):
        versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        new = folder / f".{versions[-1] + 1}"
        shutil.copytree(folder / str(versions[-1]), new)
        card = json.loads((new / "card.json").read_text())
        (new / "card.json").write_text(json.dumps({**card, "version": versions[-1] + 1}))
        new.rename(folder / str(versions[-1] + 1))
        if len(versions) > 1:
            shutil.rmtree(folder / str(versions[0]))
        changes.append(versions[-1] + 1)


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
        looks, changes = [], []

        def ask(index):
            if not hasattr(local, "connection"):
                local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            start = time.perf_counter()
            status, answer = asked(local.connection, "POST", path, bodies[index % len(bodies)])
            seconds = time.perf_counter() - start
            if index % max(arguments.requests // 60, 1) == 0:
                resident = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096
                looks.append((resident, len(os.listdir(f"/proc/{server.pid}/fd"))))
            return index, seconds, status, answer["predictions"][0]["logits"] if status == 200 else None

        try:
            for index in range(len(bodies)):
                truth[index] = ask(index)[3]
            with concurrent.futures.ThreadPoolExecutor(arguments.clients + arguments.churn) as pool:
                churning = pool.submit(churn, folder, changes, stop) if arguments.churn else None
                try:
                    found = list(pool.map(ask, range(WARM_REQUESTS)))
                    while churning and len(changes) < WARM_CHANGES and not churning.done():
                        found += pool.map(ask, range(len(bodies)))
                    warmed, before = len(found), len(changes)
                    looks.clear()
                    start = time.perf_counter()
                    found += pool.map(ask, range(arguments.requests))
                    total = time.perf_counter() - start
                finally:
                    stop.set()
                if churning:
                    churning.result()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
    scale = np.abs(truth).max()
    right = [
        status == 200 and np.abs(np.subtract(logits, truth[index % len(truth)])).max() <= 1e-4 * scale
        for index, _, status, logits in found
    ]
    thirds = np.array_split(np.array(looks), 3)
    p50, p99 = np.percentile([1e3 * seconds for _, seconds, _, _ in found[warmed:]], [50, 99])
    resident = [float(third[:, 0].mean()) / 1e6 for third in thirds]
    said = {
        "requests": arguments.requests,
        "wrong": right.count(False),
        "statuses": sorted({status for _, _, status, _ in found}),
        "a_second": round(arguments.requests / total),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "changes_of_version": len(changes) - before,
        "resident_mb_in_thirds": [round(megabytes, 1) for megabytes in resident],
        "descriptors_in_thirds": [round(float(third[:, 1].mean()), 1) for third in thirds],
    }
    print(json.dumps(said))
    return 1 if said["wrong"] or resident[-1] > MOST_GROWTH * resident[0] else 0


if __name__ == "__main__":
    sys.exit(main())
