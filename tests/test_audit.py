import runpy
from pathlib import Path

import pytest

REPORT = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "audit.py"))["report"]
FINE = {"name": "numpy", "version": "2.0", "vulns": []}
WEAK = {"name": "pillow", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "said", "status"),
    [
        ([FINE], "1 packages checked, 0 known vulnerabilities.", 0),
        ([FINE, WEAK], "pillow 1.0: CVE-1, mended in 1.1\n2 packages checked, 1 known vulnerabilities.", 1),
        ([WEAK | {"vulns": [{"id": "A", "fix_versions": []}]}], "pillow 1.0: A, mended in none", 1),
        ([FINE, UNKNOWN], "Not checked: torch.\n1 packages checked, 0 known vulnerabilities.", 0),
        ([UNKNOWN], "Skipped: nothing was checked, since the service knows none of 1 packages", 0),
    ],
)
def test_audit_says_what_was_found_and_what_was_not_checked(packages, said, status):
    text, found = REPORT(packages)
    assert (text.startswith(said), found) == (True, status)
