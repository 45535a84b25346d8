"""A `kzoo` for pages that does not import Keras anew for each command: a process that has, forked once a command.

`python warm_program.py SOCKET` waits at a socket. The program that `warm_program` writes sends it arguments, folder,
environment and open streams, and ends as the fork does. It runs the real program instead where a variable has been
changed that is read at import, such as KERAS_BACKEND, and for `kzoo serve`, which is ended by a signal.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

READ_AT_IMPORT = ("CUDA", "JAX", "KERAS", "KZOO", "OMP", "TF_", "XLA")
PROGRAM = """#!{python} -IS
import json, os, socket, sys
environment = dict(os.environ)
changed = {{name: value for name, value in environment.items() if name.startswith({prefixes})}} != {variables}
if changed or sys.argv[1:2] == ["serve"]:
    os.execv({real}, ["kzoo", *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address})
socket.send_fds(server, [b"s"], [0, 1, 2])
server.sendall(json.dumps([sys.argv[1:], os.getcwd(), environment]).encode())
server.shutdown(socket.SHUT_WR)
answer = server.recv(1)
sys.exit(answer[0] if answer else 70)
"""


def read_at_import() -> dict[str, str]:
    """Returns the variables of now that are read at import."""
    return {name: value for name, value in os.environ.items() if name.startswith(READ_AT_IMPORT)}


@contextlib.contextmanager
def warm_program(folder: Path) -> Iterator[Path]:
    """Writes the program `kzoo` into a folder and lets it work meanwhile; gives the folder, to be put on the path."""
    address = folder / "socket"
    real = Path(sys.executable).with_name("kzoo")
    values: dict[str, Any] = {"prefixes": READ_AT_IMPORT, "variables": read_at_import(), "real": str(real)}
    quoted = {name: repr(value) for name, value in values.items()}
    program = folder / "kzoo"
    program.write_text(PROGRAM.format(python=sys.executable, address=repr(str(address)), **quoted))
    program.chmod(0o755)
    command = [sys.executable, __file__, address]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        try:
            yield folder
        finally:
            server.terminate()


def serve(address: str) -> None:
    """Forks this process for each command that comes in."""
    import kzoo
    from kzoo.cli import main

    for name in kzoo.__all__:
        getattr(kzoo, name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            caller, _ = server.accept()
            with caller:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _run(main, caller)


def _run(main: Any, caller: socket.socket) -> None:
    _, streams, _, _ = socket.recv_fds(caller, 1, 3)
    arguments, folder, environment = json.loads(b"".join(iter(lambda: caller.recv(65536), b"")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["kzoo", *arguments]
    status: Any = 1
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        caller.sendall(bytes([status or 0]))
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
