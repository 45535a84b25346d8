"""Every block of code in README.md and docs/ runs, page by page.

The blocks of a page share one folder, and its Python blocks one namespace. Shell blocks run literally; what they print
is not compared. TOML, JSON and YAML is parsed. A block that needs the network, a GPU or minutes says so before it:

    <!-- skip: next "downloads 170 MB" -->
    <!-- skip: next if(missing("openvino"), "needs the extra `openvino`") -->
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import tomllib
import unittest
from pathlib import Path

import pytest
import yaml
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^[ ]*```(\w*)", re.MULTILINE)
SKIP = re.compile(r"^[ ]*<!-- *skip:(.*)-->\n(.*)", re.MULTILINE)
SECONDS = 300


def run_python(example):
    code = compile("\n" * example.line + example.parsed, str(example.path), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, example.namespace)


def run_shell(example):
    if example.parsed.startswith("kzoo serve "):
        serve(example)
        return
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", example.parsed],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise AssertionError(
            f"exit {done.returncode} of\n{example.parsed}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        )


def serve(example):
    """Starts a server, and returns when it answers. It serves until the page has ended."""
    command = ["bash", "-c", f"exec {example.parsed}"]
    server = example.namespace["servers"].enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    example.namespace["servers"].callback(server.terminate)
    if not any(line.startswith("Serving ") for line in server.stdout):
        raise AssertionError(f"exit {server.wait()} of\n{example.parsed}")


LANGUAGES = {
    "python": run_python,
    "bash": run_shell,
    "toml": lambda example: tomllib.loads(example.parsed) and None,
    "json": lambda example: json.loads(example.parsed) and None,
    "yaml": lambda example: list(yaml.safe_load_all(example.parsed)) and None,
}
# What is read and never run.
READ = {"", "console", "csv", "text"}
SYBIL = Sybil([*(CodeBlockParser(*pair) for pair in LANGUAGES.items()), SkipParser()])


def missing(*names):
    """Returns whether one of some modules or programs is not installed."""
    return any(importlib.util.find_spec(name) is None and shutil.which(name) is None for name in names)


def blocks(page):
    """Yields the examples of a page in order: blocks, and the comments that skip the next one."""
    document = SYBIL.parse(page)
    with contextlib.ExitStack() as servers:
        document.namespace.update(__name__="__main__", missing=missing, servers=servers)
        yield from document.examples()


def place(example):
    return f"{os.path.relpath(example.path, ROOT)}:{example.line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_run(page, path_of_programs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path_of_programs)
    with contextlib.closing(blocks(page)) as examples:
        for example in examples:
            try:
                example.evaluate()
            except unittest.SkipTest as reason:
                print(f"{place(example)}: {reason}")
            except Exception as error:
                raise AssertionError(f"{place(example)} does not run: {error!r}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_are_of_known_languages(page):
    assert set(FENCE.findall(page.read_text())) <= {*LANGUAGES, *READ}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_skipped_block_has_a_reason_of_its_own(page):
    """No page is skipped as a whole, and each comment stands right before a block that would run."""
    for said, following in SKIP.findall(page.read_text()):
        assert re.fullmatch(r' next ("[^"]{8,}"|if\(missing\(.+\), "[^"]{8,}"\)) ', said), said
        language = FENCE.match(following)
        assert language is not None, following
        assert language[1] in LANGUAGES, following


def test_pages_are_found():
    assert len(PAGES) > 20


def test_failing_block_is_told_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text('# Title\n\n```bash\ntrue\nfalse\n```\n\n<!-- skip: next "needs minutes" -->\n```python\nx\n```\n')
    shell, skip, python = blocks(page)
    with pytest.raises(AssertionError, match="exit 1"):
        shell.evaluate()
    skip.evaluate()
    with pytest.raises(unittest.SkipTest, match="needs minutes"):
        python.evaluate()


def test_python_blocks_share_a_namespace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nx += 1\n```\n\n```python\nassert x == 1\n```\n")
    first, second, third = blocks(page)
    first.evaluate()
    second.evaluate()
    with pytest.raises(AssertionError):
        third.evaluate()
