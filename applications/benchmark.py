"""Measures kzoo against plain `keras.layers` and plain PyTorch: images a second, side by side, in interleaved rounds.

    KERAS_BACKEND=torch python applications/benchmark.py --quick
    python applications/benchmark.py --draw benchmark/benchmark.json    # the chart again, nothing measured

One process a library and backend, each with the interpreter that KZOO_PYTHON_TORCH, KZOO_PYTHON_JAX or
KZOO_PYTHON_TENSORFLOW names; where none is named, the backend in use alone. kzoo and Keras run as users run them
(`model.fit`, `model.predict`), PyTorch in a loop over channels_last memory. The yardsticks do not import kzoo. All
start from the same weights, and must give the same loss. A ratio is the median over the rounds, each within its round,
and by bootstrap what it is at least: with 7 rounds that holds in 94 % of cases, with the 3 of `--quick` in 88 %. The
limit is what the multiply-adds would take in one large matrix product on the CPU; all compute on a GPU where they see
one. On TensorFlow Keras is measured with oneDNN, and without: so it comes on processors without AVX-512 VNNI. kzoo
tunes its process where KZOO_TUNE_PROCESS=1. `--bfloat16` measures kzoo and PyTorch in bfloat16, too. Writes
`benchmark.json` and `benchmark.png` into `--out`.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
from benchmark_chart import chart
from benchmark_machine import matrix_product, processor
from benchmark_networks import network
from benchmark_rows import BFLOAT16, PASSES, SLOW_KERAS, Case, line, ratio, yardsticks
from benchmark_worker import MODULES, Worker

BACKENDS = ("torch", "tensorflow", "jax")
MODELS = ["resnet20", "resnet56", "wide_resnet16_4"]
MODES = ("train", "inference", "folded")
INFERENCE = 4  # times the steps of training: it is faster


def interpreters() -> dict[str, str]:
    """Returns the interpreter of each backend to measure."""
    named = {backend: os.environ.get(f"KZOO_PYTHON_{backend.upper()}") for backend in BACKENDS}
    found = {backend: python for backend, python in named.items() if python}
    return found or {os.environ.get("KERAS_BACKEND", "tensorflow"): sys.executable}


def start(
    model: str, batch: int, steps: int, options: argparse.Namespace, folder: str
) -> dict[tuple[str, str], Worker]:
    """Starts the workers, kzoo's first: it writes the weights, also where it is not measured."""
    pythons = interpreters()
    cases = [(backend, library) for library in ("kzoo", "keras") for backend in pythons]
    cases += [("torch", "pytorch")] * ("torch" in pythons) + [("tensorflow", SLOW_KERAS)] * ("tensorflow" in pythons)
    cases += [
        (one, f"{library} {BFLOAT16}") for one, library in cases if library in ("kzoo", "pytorch")
    ] * options.bfloat16
    cases = [case for i, case in enumerate(cases) if i == 0 or case[1].split()[0] in options.libraries]
    arguments = [Path(folder) / "weights.npz", model, batch, INFERENCE * steps]
    workers = dict[tuple[str, str], Worker]()
    for some in (cases[:1], cases[1:]):
        workers |= {case: Worker(*case, pythons[case[0]], arguments, options.threads) for case in some}
        facts = workers[cases[0]].ready  # only then is the file of weights there
    short = facts["device"][0] == "gpu"  # GPUs round what they multiply to TensorFloat-32
    for case, worker in workers.items():
        tolerance = 1e-2 if short or BFLOAT16 in case[1] else 1e-4
        np.testing.assert_allclose(worker.ready["loss"], facts["loss"], tolerance, err_msg=" ".join(case))
    return workers


def measure(model: str, batch: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns a row for each program: speeds, and the ratios to plain PyTorch and Keras in the same rounds."""
    steps = min(256, max(1, options.images // batch))
    with tempfile.TemporaryDirectory() as folder:
        workers = start(model, batch, steps, options, folder)
    speeds, peaks, facts = dict[Case, list[float]](), {}, next(iter(workers.values())).ready  # kzoo's
    wanted = {case: worker for case, worker in workers.items() if case[1].split()[0] in options.libraries}
    order = [(c, m) for kind in MODES for c, w in wanted.items() for m in w.ready["first_seconds"] if kind in m]
    if not order:
        raise SystemExit("Nothing to measure: plain PyTorch needs the backend torch, see KZOO_PYTHON_TORCH.")
    for case, mode in order * options.rounds:
        answer = workers[case].ask(mode, steps if "train" in mode else INFERENCE * steps)
        speeds.setdefault((*case, mode), []).append(answer["images_per_second"])
        peaks[case] = answer["peak_bytes"]
    for worker in workers.values():
        worker.process.communicate()  # the end of its input
    return [
        {
            "case": [model, batch, backend, f"{library} {mode}"],
            "images_per_second": values,
            "median": statistics.median(values),
            "multiply_adds_per_second": statistics.median(values)
            * facts["multiply_adds"]
            * (PASSES if "train" in mode else 1),
            "ratios": {
                name: ratio(values, speeds[other]) for name, other in yardsticks(backend, library, mode, speeds)
            },
            "first_seconds": workers[backend, library].ready["first_seconds"][mode],
            "peak_bytes_of_worker": peaks[backend, library],
            "device": facts["device"],
        }
        for (backend, library, mode), values in speeds.items()
    ]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures, and prints a line for each program."""
    chip, limit, rows = processor(), matrix_product(), []
    tuned = os.environ.get("KZOO_TUNE_PROCESS") == "1"
    print(", ".join([chip["model"], *chip["flags"], f"KZOO_TUNE_PROCESS {'is' if tuned else 'is not'} 1"]))
    print(f"matrix product: {limit / 1e9:.0f} G multiply-adds a second, {options.threads} threads")
    for model, batch in itertools.product(options.models, options.batch_sizes):
        for row in measure(model, batch, options):
            print(line(row, limit), flush=True)
            rows.append(row)
    facts = {"processor": chip, "process_tuned": tuned, "limit_multiply_adds_per_second": limit}
    return {**facts, "threads": options.threads, "rows": rows}


def main() -> None:
    """Measures or reads, and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=network, nargs="+", default=MODELS, help="default: %(default)s")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32, 128, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=1024, help="trained on in a measurement, in 1 to 256 batches")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--libraries", nargs="+", choices=MODULES, default=list(MODULES), help="which to measure")
    parser.add_argument("--bfloat16", action="store_true", help="measure mixed_bfloat16 beside float32")
    parser.add_argument("--quick", action="store_true", help="resnet20, batch 128, 3 rounds of 256 images")
    parser.add_argument("--draw", type=Path, metavar="JSON", help="draw what was measured before, measure nothing")
    parser.add_argument("--out", type=Path, default=Path("benchmark"))
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.models, arguments.batch_sizes, arguments.rounds, arguments.images = ["resnet20"], [128], 3, 256
    result = json.loads(arguments.draw.read_text()) if arguments.draw else run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    aside = arguments.out / ".benchmark.json"  # so that earlier results stay until the new ones are whole
    if not arguments.draw:
        aside.write_text(json.dumps(result, indent=2))
        aside.replace(arguments.out / "benchmark.json")
    aside = arguments.out / ".benchmark.png"
    chart(result).savefig(aside, dpi=120)
    aside.replace(arguments.out / "benchmark.png")


if __name__ == "__main__":
    main()
