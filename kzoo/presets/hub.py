"""Presets on the Hugging Face hub: fetched by commit, verified, kept; and published.

What speaks to the hub is `huggingface_hub` (the extra `hub`). `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and its other
settings mean what they mean there.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kzoo import arguments
from kzoo.download import DownloadError, sha256_of
from kzoo.durable import make_folder, private_folder, put_in_place, written_file
from kzoo.presets.config import CARD, CONFIG, TENSORS
from kzoo.presets.folder import checked_preset

_PREFIX = "hf://"
_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95})/(?:[A-Za-z0-9][\w.-]{0,95})", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_BYTES = {CONFIG: 1 << 22, CARD: 1 << 22, TENSORS: 1 << 32}


@dataclasses.dataclass(frozen=True)
class HubName:
    """A repository of models on the hub, at a revision.

    Attributes:
        repository: `"owner/name"`.
        revision: A branch, a tag or the 40 digits of a commit; `"main"` where none is named.
    """

    repository: str
    revision: str = "main"

    @staticmethod
    def is_one(text: str) -> bool:
        """Tells whether a text is meant to be an address on the hub."""
        return text.startswith(_PREFIX)

    @classmethod
    def parse(cls, text: str) -> "HubName":
        """Returns what `hf://owner/name@revision` stands for.

        Raises:
            ValueError: If it is not of that form.
        """
        repository, _, revision = text.removeprefix(_PREFIX).partition("@")
        name = cls(repository, revision or "main")
        is_plain = ".." not in text and _NAME.fullmatch(repository) and _REVISION.fullmatch(name.revision)
        if not is_plain or (text.endswith("@")):
            raise ValueError(
                f"A preset on the hub must be hf://owner/name or hf://owner/name@revision. Received: {text!r}."
            )
        return name

    def __str__(self) -> str:
        return f"{_PREFIX}{self.repository}@{self.revision}"


def fetch_from_hub(name: HubName, root: Path) -> Path:
    """Returns the folder of a preset on the hub, which is fetched unless that commit is on this machine.

    A branch or tag is asked for each time, and what it stood for last is taken where the hub cannot be reached. Files
    are compared with the sizes and hashes that the hub has of that commit before anything opens them.

    Args:
        name: The `HubName`.
        root: Path of the folder of fetched presets.

    Raises:
        ImportError: If `huggingface_hub` is not installed.
        DownloadError: If the hub cannot be reached, has no such repository, or sends something else.
        ValueError: If it is no preset.
    """
    kept = root / "hub" / name.repository.replace("/", "--")
    pointer = kept / f"{hashlib.sha256(name.revision.encode()).hexdigest()[:16]}.commit"
    if _COMMIT.fullmatch(name.revision) and (kept / name.revision / CONFIG).is_file():
        return kept / name.revision
    hub = _require_hub()
    try:
        with _told(hub, name):
            about = _api(hub).model_info(name.repository, revision=name.revision, files_metadata=True)
    except DownloadError as error:
        commit = pointer.read_text(encoding="ascii").strip() if pointer.is_file() else ""
        if not _COMMIT.fullmatch(commit) or not (kept / commit / CONFIG).is_file():
            raise
        warnings.warn(f"{name} is taken as it was at the last visit, commit {commit}. Received: {error}", stacklevel=2)
        return kept / commit
    commit = str(about.sha)
    if not _COMMIT.fullmatch(commit):
        raise DownloadError(f"{name} must be at a commit of 40 hexadecimal digits. Received: {commit[:100]!r}.")
    if not (kept / commit / CONFIG).is_file():
        _download(hub, name, about, commit, kept)
    with written_file(pointer) as aside:
        aside.write_text(f"{commit}\n", encoding="ascii")
    return kept / commit


def push_preset(
    folder: str | os.PathLike[str], repository: str, *, private: bool = False, message: str | None = None
) -> str:
    """Publishes a preset on the Hugging Face hub: its configuration, weights and card, in one commit.

    Args:
        folder: Path of the preset.
        repository: String, `"owner/name"`; it is made if it is not there.
        private: Boolean, whether a new repository is for its owner alone. Defaults to `False`.
        message: String, what the commit says. Defaults to the name of the model.

    Returns:
        The address of the commit, as `kzoo.load_preset` takes it: `hf://owner/name@...`.

    Raises:
        ImportError: If `huggingface_hub` is not installed.
        ValueError: If it is no preset, there is no such name, or no token: the message says how to get one.
        DownloadError: If the hub cannot be reached or refuses.

    Example:
        >>> kzoo.push_preset("my-preset", "owner/name", private=True)  # doctest: +SKIP
        'hf://owner/name@...'
    """
    path = arguments.path(folder, "folder")
    name = HubName.parse(f"{_PREFIX}{arguments.text(repository, 'repository').removeprefix(_PREFIX)}")
    private = arguments.boolean(private, "private")
    config = checked_preset(path)
    if not (path / CARD).is_file():
        raise ValueError(f"A preset that is published must have a card, {CARD}. Received: {path}, without one.")
    hub = _require_hub()
    if hub.get_token() is None:
        raise ValueError(
            "Publishing needs a token of the Hugging Face hub that may write: make one in the settings of your account "
            "there, then set HF_TOKEN, or run `hf auth login`. Received: none."
        )
    with _told(hub, name):
        api = _api(hub)
        api.create_repo(name.repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name.repository,
            folder_path=path,
            allow_patterns=[CONFIG, TENSORS, CARD],
            commit_message=message or f"{config.construction.model}, saved by kzoo",
        )
    return str(HubName(name.repository, str(commit.oid)))


def _require_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError("Presets on the Hugging Face hub need huggingface_hub: pip install 'kzoo[hub]'.") from None
    return huggingface_hub


def _api(hub: Any) -> Any:
    """Returns what speaks to the hub that HF_ENDPOINT names now: the library reads that when it is imported."""
    return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="kzoo")


@contextlib.contextmanager
def _told(hub: Any, name: HubName) -> Iterator[None]:
    """Says of whatever the library raises what was asked for."""
    try:
        yield
    except DownloadError:
        raise
    except Exception as error:  # errors of the library, of what it speaks HTTP with, and of the system
        said = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise DownloadError(f"{name} must be within reach. Received: {type(error).__name__}: {said}") from error


def _download(hub: Any, name: HubName, about: Any, commit: str, kept: Path) -> None:
    """Downloads the files of a commit aside, verifies them, and puts them in place together."""
    there = {one.rfilename: one for one in about.siblings or ()}
    for file in (CONFIG, TENSORS):
        if file not in there:
            raise ValueError(f"{name} must be a preset, with {CONFIG} and {TENSORS}. Received: no {file}.")
    make_folder(kept)
    with private_folder(kept) as private:
        made = private / commit
        made.mkdir()
        for file in (CONFIG, TENSORS, CARD):
            if file not in there:
                continue
            expected = there[file]
            if type(expected.size) is int and expected.size > _MOST_BYTES[file]:
                raise ValueError(
                    f"{name}: {file} must have at most {_MOST_BYTES[file]:,} bytes. Received: {expected.size:,}."
                )
            with _told(hub, name):
                got = _api(hub).hf_hub_download(name.repository, file, revision=commit, local_dir=private / "got")
            _check_file(Path(got), expected, name)
            shutil.move(got, made / file)
        checked_preset(made)
        try:
            put_in_place(made, kept / commit)
        except OSError:
            if not (kept / commit / CONFIG).is_file():  # else another process was faster
                raise


def _check_file(path: Path, expected: Any, name: HubName) -> None:
    """Raises `DownloadError` unless a file has the size and the hash that the hub has of it."""
    received = path.stat().st_size
    if type(expected.size) is int and received != expected.size:
        raise DownloadError(f"{name}: {path.name} must have {expected.size:,} bytes. Received: {received:,}.")
    lfs = getattr(expected, "lfs", None)
    if lfs is not None:
        hashed, wanted = sha256_of(path), str(lfs.sha256)
    else:  # git's own hash, of a file that it keeps itself
        content = path.read_bytes()
        hashed = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        wanted = str(expected.blob_id)
    if hashed != wanted:
        raise DownloadError(f"{name}: {path.name} must have the hash {wanted}. Received: {hashed}.")
