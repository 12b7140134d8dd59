"""Asks public advisories about the versions in requirements.txt; a known hole fails.

    python .ci/audit.py [ADDRESS]

ADDRESS is that of an OSV service, asked in place of the usual ones. Where no advisories can be
reached, as on machines that reach package registries alone, this says so and fails nothing. A hole
that does not concern this project is listed in audit-ignore.txt, with the reason.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REQUIREMENTS = HERE.parent / "requirements.txt"
LIMIT = 60.0  # seconds for all of it
SERVICES = (("-s", "pypi"), ("-s", "osv"))


def main() -> int:
    """Ask one service after the other until one answers; return the exit code."""
    began = time.monotonic()
    services = [("-s", "osv", "--osv-url", address) for address in sys.argv[1:]] or SERVICES
    # What fails without a service being asked is a mistake of ours.
    collected, said = ask("--dry-run", seconds=LIMIT)
    if collected is None:
        print(f"audit: {REQUIREMENTS.name} cannot be audited: {said}", file=sys.stderr)
        return 2
    why = []
    for service in services:
        found, said = ask(*service, *ignored(), seconds=LIMIT - (time.monotonic() - began))
        audited = [one for one in found or [] if "vulns" in one]
        if audited:
            return tell(audited, [one["name"] for one in found or [] if "vulns" not in one])
        why.append(f"{service[1]}: {said}")
    print(f"audit: advisories cannot be reached: NOT AUDITED ({'; '.join(why)})")
    return 0


def ask(*options: str, seconds: float) -> tuple[list[dict[str, Any]] | None, str]:
    """Run pip-audit on the requirements.

    Returns:
        What it found of each package, None where it came to no report; and its last words.
    """
    with tempfile.TemporaryDirectory() as cache:  # yesterday's answer is none
        command = [sys.executable, "-m", "pip_audit", "-r", str(REQUIREMENTS), "--no-deps"]
        command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
        command += ["--timeout", "10", "--cache-dir", cache, *options]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=max(seconds, 0.1), check=False
            )
        except subprocess.TimeoutExpired:
            return None, f"no answer within {LIMIT:.0f} s"
    words = (done.stderr.strip() or "no word").splitlines()[-1][:150]
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None, words
    reasons = [one["skip_reason"] for one in found if "skip_reason" in one]
    return found, reasons[0] if reasons else words


def ignored() -> list[str]:
    """Return the options that leave out what audit-ignore.txt lists: an id, then the reason."""
    lines = (HERE / "audit-ignore.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.split(maxsplit=1) for line in lines if line.strip() and line[0] != "#"]
    if bare := [words[0] for words in listed if len(words) < 2]:
        raise SystemExit(f"audit: no reason is given for ignoring {', '.join(bare)}")
    return [word for words in listed for word in ("--ignore-vuln", words[0])]


def tell(audited: list[dict[str, Any]], left_out: list[str]) -> int:
    """Say what was found; return the exit code."""
    holes = [
        f"audit: {one['name']} {one['version']}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for one in audited
        for hole in one["vulns"]
    ]
    for line in holes:
        print(line, file=sys.stderr)
    without = f"; not audited: {', '.join(left_out)}" if left_out else ""
    print(f"audit: {len(audited)} packages, {len(holes)} known holes{without}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
