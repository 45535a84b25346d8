"""Any bytes give something valid, or a `ValueError` that names the file: nothing else, and no large memory."""

import datetime
import json
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from fuzz import of_data, of_presets, of_runs  # noqa: F401  they fill the table
from fuzz.target import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MEMORY = Path("/dev/shm")
LARGEST_BYTES = 64 << 20  # of memory, for files of a few kilobytes

numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, -(2**63) - 1, 10**400, float("nan"), float("inf"), -float("inf"), 1e308, 0.5]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5), st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


def places(content, at=()):
    """Returns the path of each value within JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [at, *(place for key, value in items for place in places(value, (*at, key)))]


def is_json(content):
    """Returns whether bytes are JSON."""
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


@st.composite
def changed_json(draw, seed):
    """JSON in which values are replaced or missing."""
    content = json.loads(seed)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(content))) or (None,)
        if last is None:
            return json.dumps(draw(values)).encode()
        inner = content
        for key in way:
            inner = inner[key]
        if draw(st.booleans()) or isinstance(inner, list):
            inner[last] = draw(values)
        else:
            del inner[last]
    return json.dumps(content).encode()


@st.composite
def changed_bytes(draw, seed):
    """Bytes of which some are overwritten, cut out or repeated."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.tuples(st.integers(0, len(content)), st.integers(0, len(content)))))
        put = draw(st.one_of(st.just(b""), st.binary(min_size=1, max_size=8), st.just(bytes(content[start:end]) * 2)))
        content[start : end if draw(st.booleans()) else start + len(put)] = put
    return bytes(content)


DEEP = b"[" * 100_000
NESTED = json.loads("[" * 500 + "]" * 500)
NUMBERS = (True, -1, 1.5, 10**400, 1e300, -float("inf"), float("nan"))
ODD = (None, *NUMBERS, "", "\ud800", "a/../..", [], [[]], {}, {"": {}}, NESTED)


@st.composite
def contents(draw, seeds):
    """Valid bytes, changed ones, and any."""
    seed = draw(st.sampled_from(seeds))
    kinds = [st.just(seed), changed_bytes(seed), changed_bytes(seed), st.binary(max_size=64), st.just(DEEP)]
    if is_json(seed):
        kinds += [changed_json(seed)] * 4
    return draw(st.one_of(kinds))


@pytest.fixture
def folder():
    """A folder in memory, where there is one: a thousand small files take their time on a disk."""
    with tempfile.TemporaryDirectory(prefix="kzoo-fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture
def target(request):
    target = TARGETS[request.param]
    if not target.can_run:
        pytest.skip(f"needs {target.needs}")
    return target


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_any_bytes_are_read_or_refused_by_name(target, folder):
    seeds = target.seeds()
    for seed in seeds:
        target.read(seed, folder)

    @settings(
        max_examples=target.examples,
        database=None,
        deadline=datetime.timedelta(seconds=20),
        suppress_health_check=list(HealthCheck),
    )
    @given(contents(seeds))
    def try_one(content):
        tracemalloc.start()
        try:
            target.check(content, folder)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < LARGEST_BYTES

    try_one()


@pytest.mark.parametrize("target", [name for name in TARGETS if TARGETS[name].by_kzoo], indirect=True)
def test_any_value_of_json_may_be_odd(target, folder):
    """In order, where chance would miss some."""
    for seed in filter(is_json, target.seeds()):
        for *way, last in filter(None, places(json.loads(seed))):
            for value in ODD:
                content = json.loads(seed)
                inner = content
                for key in way:
                    inner = inner[key]
                inner[last] = value
                target.check(json.dumps(content).encode(), folder)
