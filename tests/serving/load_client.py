"""Asks a server from several connections at once, in a process of its own.

    python load_client.py PORT MODEL REQUESTS.npz ANSWERS.npz COUNT CLIENTS

Request number i is about image i, modulo their number; `ANSWERS.npz` gets `logits` and `seconds`, one row a request.
"""

import http.client
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def main(port, model, requests, answers, count, clients):
    with np.load(requests) as file:
        bodies = [json.dumps({"instances": [image]}).encode() for image in file["images"].tolist()]
    local = threading.local()

    def ask(index):
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        start = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        local.connection.request("POST", f"/v1/models/{model}:predict", bodies[index % len(bodies)], headers)
        response = local.connection.getresponse()
        answer = json.load(response)
        if response.status != 200:
            raise RuntimeError(f"Request {index}: status {response.status}, {answer}")
        return time.perf_counter() - start, answer["predictions"][0]["logits"]

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds, logits = zip(*pool.map(ask, range(count)), strict=True)
    np.savez(answers, seconds=seconds, logits=logits, total_seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
