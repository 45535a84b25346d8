"""Reports known vulnerabilities of the packages that constraints.txt names: exit status 1 if there are some.

Where the service that knows them cannot be reached, a sentence says so, and the exit status is 0.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
COMMAND = ("pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--requirement")


def main() -> int:
    """Asks, prints what was said, and returns the exit status."""
    done = subprocess.run(
        [sys.executable, "-m", *COMMAND, str(CONSTRAINTS)], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        said = done.stderr.strip().rpartition("\n")[2]
        if "Connection" not in said:
            print(done.stderr, file=sys.stderr)
            return done.returncode
        print(f"Skipped: nothing was checked, since the service cannot be reached ({said}).")
        return 0
    text, status = report(json.loads(done.stdout)["dependencies"])
    print(text)
    return status


def report(packages: list[dict[str, Any]]) -> tuple[str, int]:
    """Returns what to say of pip-audit's answer, and the exit status."""
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        return f"Skipped: nothing was checked, since the service knows none of {len(packages)} packages: a mirror?", 0
    found = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none'}"
        for package in packages
        for one in package.get("vulns", ())
    ]
    not_checked = [f"Not checked: {', '.join(unknown)}."] if unknown else []
    count = f"{len(packages) - len(unknown)} packages checked, {len(found)} known vulnerabilities."
    return "\n".join([*found, *not_checked, count]), 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
