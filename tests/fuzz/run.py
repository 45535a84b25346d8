"""Lets Atheris, which sees what lines bytes reach, look for faults: `python tests/fuzz/run.py --seconds 600 history`.

Without names, all targets that kzoo's own code takes apart, one after the other. Bytes that are found to make a fault
are left as a file in `--findings`.
"""

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["kzoo"]):
    from fuzz import of_data, of_presets, of_runs  # noqa: F401  they fill the table
    from fuzz.target import TARGETS, Target

_ROOM_BYTES = 2 << 30  # of address space beyond what is taken at the start: more is a MemoryError, and a fault
_SECONDS_EACH = 10  # an input that takes longer hangs
_LARGEST_INPUT = 4096  # bytes
_MEMORY = Path("/dev/shm")  # files are made and removed some thousand times a second


def fuzz(name: str, target: Target, seconds: int, seed: int, findings: Path, place: Path) -> None:
    """Fuzzes a target, and ends the process."""
    corpus, folder = place / "corpus", place / "folder"
    corpus.mkdir()
    folder.mkdir()
    for number, content in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(content)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _ROOM_BYTES, resource.RLIM_INFINITY))
    limits = [f"-seed={seed}", f"-max_total_time={seconds}", f"-timeout={_SECONDS_EACH}", f"-max_len={_LARGEST_INPUT}"]
    said = ["-print_final_stats=1", f"-artifact_prefix={findings / name}-"]
    atheris.Setup([name, *limits, *said, str(corpus)], lambda content: target.check(content, folder))
    atheris.Fuzz()


def has_fault(name: str, seconds: int, seed: int, findings: Path) -> bool:
    """Fuzzes a target in a process of its own; returns whether it found a fault, which it prints."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kzoo-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None) as place:
        process = os.fork()
        if not process:
            fuzz(name, TARGETS[name], seconds, seed, findings, Path(place))
        _, status = os.waitpid(process, 0)
    return status != 0


def main() -> int:
    """Returns the exit status: 1 if there was a fault."""
    own = [name for name, target in TARGETS.items() if target.by_kzoo and target.can_run]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=own, help="targets; by default all that kzoo's own code reads")
    parser.add_argument("--seconds", type=int, default=1, help="for each")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried; 0 for another one each time")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()), help="folder of what is found")
    options = parser.parse_args()
    options.findings.mkdir(parents=True, exist_ok=True)
    faults = [name for name in options.names if has_fault(name, options.seconds, options.seed, options.findings)]
    print(f"{len(options.names)} targets, faults in: {', '.join(faults) or 'none'}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
