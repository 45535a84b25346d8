"""A small study comes to the same conclusions on every backend."""

import json

import pytest
from backends import BACKENDS, run_on

pytestmark = pytest.mark.cross

SCRIPT = """
import dataclasses, json, sys
import kzoo
from kzoo.studies import find_study, run_study

def states(smoke):
    return [{"part": "state", "norm": norm, "rate": 0.05, "batch_size": 32} for norm in ("batch", "none")]

study = dataclasses.replace(find_study("batch_norm"), grid=states)
found = run_study(study, directory=sys.argv[1], smoke=True, seeds=5, verbose=0)
print(json.dumps([[one.verdict, one.effect] for _, one in found.conclusions]))
"""


@pytest.fixture(scope="module")
def conclusions(tmp_path_factory):
    """Backend to what each claim comes to: verdict and effect."""
    return {
        backend: json.loads(run_on(backend, SCRIPT, tmp_path_factory.mktemp("studies") / backend).splitlines()[-1])
        for backend in BACKENDS
    }


def test_what_is_decided_has_the_same_sign_on_every_backend(conclusions):
    decided = 0
    for of_claim in zip(*conclusions.values(), strict=True):
        if any(verdict in ("supported", "contradicted") for verdict, _ in of_claim):
            decided += 1
            assert len({effect > 0 for _, effect in of_claim}) == 1
    assert decided


def test_dependence_on_the_batch_is_supported_on_every_backend(conclusions):
    assert {backend: found[2][0] for backend, found in conclusions.items()} == dict.fromkeys(BACKENDS, "supported")
