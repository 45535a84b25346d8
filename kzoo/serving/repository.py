"""The models and versions of a server: found in a folder, loaded, watched, and let go without losing a request."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
from collections.abc import Iterator
from pathlib import Path

from kzoo.export.signatures import CARD
from kzoo.serving.answering import Answerer
from kzoo.serving.card import read_card
from kzoo.serving.errors import NotFound, short
from kzoo.serving.limits import Limits
from kzoo.serving.metrics import Metrics
from kzoo.serving.runtime import ExportedModel, is_export, is_version, load_export, newest_version

logger = logging.getLogger("kzoo.serving")

# As TensorFlow Serving calls them.
LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"
Key = tuple[str, int]


@dataclasses.dataclass
class State:
    """What became of a version: one of the states above, and what went wrong."""

    state: str
    error: str = ""


@dataclasses.dataclass
class Loaded:
    """A version that answers.

    Attributes:
        model: The `ExportedModel`.
        answerer: Its `Answerer`.
        users: Integer, how many requests are about it now.
    """

    model: ExportedModel
    answerer: Answerer
    users: int = 0


class Repository:
    """The exports of a folder: one version, one model's versions, or many models' (`NAME/VERSION/`).

    Args:
        directory: Path of the folder.
        limits: The `Limits`.
        metrics: The `Metrics`.
        threads: Integer, how many batches are computed at once.
        versions: Integer, how many of the newest versions of each model are loaded, or `None` for all.
        runtime: String, the runtime to take, or `None` for the best.
    """

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        metrics: Metrics,
        *,
        threads: int,
        versions: int | None = None,
        runtime: str | None = None,
    ) -> None:
        self.directory = directory
        self.states: dict[Key, State] = {}
        self._limits, self._metrics, self._threads = limits, metrics, threads
        self._versions, self._runtime = versions, runtime
        self._loaded: dict[Key, Loaded] = {}
        self._failed: dict[Path, tuple[float, ...]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "predict")
        self._letting_go: set[asyncio.Task[None]] = set()

    @property
    def models(self) -> dict[str, list[int]]:
        """Name of each model to the versions that answer, lowest first."""
        found: dict[str, list[int]] = {}
        for name, version in sorted(self._loaded):
            found.setdefault(name, []).append(version)
        return found

    def get(self, name: str, version: str | None = None) -> Loaded:
        """Returns a version that answers, the highest unless one is named.

        Raises:
            NotFound: If there is none.
        """
        versions = self.models.get(name)
        if not versions:
            raise NotFound(f"Model with name {short(name)[1:-1]} does not exist.")
        wanted = versions[-1] if version is None else int(version) if version.isdigit() and len(version) < 20 else -1
        if wanted not in versions:
            there = ", ".join(map(str, versions))
            raise NotFound(f"Model {name} must be asked by one of its versions {there}. Received: {short(version)}.")
        return self._loaded[name, wanted]

    @contextlib.contextmanager
    def used(self, name: str, version: str | None = None) -> Iterator[Loaded]:
        """Yields what `get` returns, and lets it not go meanwhile."""
        loaded = self.get(name, version)
        loaded.users += 1
        try:
            yield loaded
        finally:
            loaded.users -= 1

    async def open(self) -> None:
        """Loads what is there.

        Raises:
            FileNotFoundError: If there is no export.
            ImportError: If no runtime is installed for any.
            ValueError: If none of them can be loaded.
        """
        errors = await self.look()
        if not self._loaded:
            raise errors[0] if errors else _nothing(self.directory)

    async def watch(self, seconds: float) -> None:
        """Looks every so many seconds at what has come and gone, for ever."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.look()
            except OSError as error:
                logger.warning("%s cannot be looked at: %s", self.directory, error)
            except Exception:  # whatever one look ends in, the next may find what is to be served
                logger.exception("%s cannot be looked at", self.directory)

    async def look(self) -> list[Exception]:
        """Loads what has come and lets go what is gone, one version after another, while the others answer.

        Returns:
            What went wrong with versions, which stay as they are until their files change.
        """
        there, errors = await asyncio.to_thread(self._there)
        for key, path in there.items():
            if key in self._loaded or self._failed.get(path) == _stamp(path):
                continue
            error = await self._load(key, path)
            if error is not None:
                errors.append(error)
        for key in [key for key in self._loaded if key not in there]:
            task = asyncio.create_task(self._let_go(key, self._loaded.pop(key)))
            self._letting_go.add(task)
            task.add_done_callback(self._letting_go.discard)
        return errors

    async def close(self) -> None:
        """Answers what waits, and ends the threads."""
        await asyncio.gather(*self._letting_go, *(loaded.answerer.close() for loaded in self._loaded.values()))
        self._loaded.clear()
        self._pool.shutdown()

    def _there(self) -> tuple[dict[Key, Path], list[Exception]]:
        """Returns the exports of the folder, by name and version, and what is wrong with others.

        Of each model they are the newest alone that are wanted.
        """
        found: dict[Key, Path] = {}
        errors: list[Exception] = []
        for path in _exports(self.directory):
            try:
                card = read_card(path)
            except (ValueError, OSError) as error:
                if self._failed.get(path) != (stamp := _stamp(path)):
                    self._failed[path] = stamp
                    logger.error("%s", error)
                errors.append(error)
                continue
            found.setdefault((card.name, int(card.version)), path)
        kept: dict[Key, Path] = {}
        for name in {name for name, _ in found}:
            numbers = sorted(version for one, version in found if one == name)
            kept |= {(name, number): found[name, number] for number in numbers[-(self._versions or 0) :]}
        return dict(sorted(kept.items())), errors

    async def _load(self, key: Key, path: Path) -> Exception | None:
        name, version = key
        self.states[key] = State(LOADING)
        stamp = _stamp(path)
        try:
            model = await asyncio.to_thread(load_export, path, self._runtime)
        except Exception as error:  # whatever a strange export makes its runtime raise, the others go on
            self._failed[path] = stamp
            self.states[key] = State(END, str(error) or type(error).__name__)
            logger.error("Version %s of %s is not served. %s", version, name, self.states[key].error)
            return error
        self._failed.pop(path, None)
        answerer = Answerer(model, self._limits, self._pool, self._threads, self._metrics)
        self._loaded[key] = Loaded(model, answerer)
        self.states[key] = State(AVAILABLE)
        self._metrics.loaded(name, str(version))
        logger.info("Version %s of %s answers, by %s from %s", version, name, model.runtime, model.format)
        return None

    async def _let_go(self, key: Key, loaded: Loaded) -> None:
        name, version = key
        self.states[key] = State(UNLOADING)
        while loaded.users:
            await asyncio.sleep(0.01)
        await loaded.answerer.close()
        if key not in self._loaded:  # unless it has come back meanwhile
            self.states[key] = State(END)
            self._metrics.unloaded(name, str(version))
        logger.info("Version %s of %s is gone", version, name)
        del loaded
        gc.collect()  # a model of hundreds of megabytes must not wait for the next cycle


def _exports(directory: Path) -> list[Path]:
    """Returns the folders of exports in a folder: itself, its versions, or its models' versions."""
    if is_export(directory):
        return [directory]
    versions = [path for path in _folders(directory) if is_version(path)]
    models = [directory] if versions else [path for path in _folders(directory) if not path.name.startswith(".")]
    return [path for model in models for path in _folders(model) if is_version(path) and (path / CARD).is_file()]


def _folders(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _stamp(path: Path) -> tuple[float, ...]:
    """Returns when the files of a folder were last written, by which a change is seen."""
    times = []
    for file in sorted(path.rglob("*")):
        with contextlib.suppress(OSError):
            times.append(file.stat().st_mtime)
    return tuple(times)


def _nothing(directory: Path) -> FileNotFoundError:
    try:
        newest_version(directory)
    except FileNotFoundError as error:
        return error
    return FileNotFoundError(f"Expected exports for servers in NAME/VERSION/. Received: {directory}, without any.")
