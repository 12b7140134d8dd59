"""CI's audit of the pinned dependencies, against advisories served on loopback."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.helpers.programs import PROJECT

HOLE = {
    "id": "PYSEC-2026-1",
    "summary": "reads what it should not",
    "affected": [
        {
            "package": {"name": "pillow", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


class Advisories(BaseHTTPRequestHandler):
    """An OSV service that knows of a hole in Pillow, or fails."""

    status = 200

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"vulns": [HOLE]} if query["package"]["name"] == "pillow" else {}
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Advisories, "status", 200)
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(
    folder: Path, address: str, pins: str, ignore: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run the lines of .ci/run that audit, on some pins."""
    (folder / "requirements.txt").write_text(pins)
    script = (PROJECT / ".ci" / "run").read_text()
    lines = script[script.index("if ! report=") : script.index("# Programs that")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines.replace(" -s osv", f" -s osv {ignore}")],
        cwd=folder,
        env={**os.environ, "PATH": path, "PIP_AUDIT_OSV_URL": address},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_known_hole_fails_and_is_named_unless_it_is_accepted(
    tmp_path: Path, address: str
) -> None:
    pins = "click==8.5.1\npillow==13.0.0\n"
    done = audit(tmp_path, address, pins)
    assert done.returncode == 1, done.stdout
    assert "PYSEC-2026-1" in done.stderr
    assert "pillow" in done.stderr
    for left, options in (("click==8.5.1\n", ""), (pins, "--ignore-vuln PYSEC-2026-1")):
        done = audit(tmp_path, address, left, options)
        assert done.returncode == 0, done.stderr
        assert "audit: No known vulnerabilities found" in done.stdout


def test_advisories_out_of_reach_are_said_and_fail_nothing(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Advisories, "status", 503)
    for out_of_reach in (address, "http://127.0.0.1:9/v1/query"):
        done = audit(tmp_path, out_of_reach, "click==8.5.1\n")
        assert done.returncode == 0, done.stderr
        assert "NOT AUDITED" in done.stdout


def test_requirements_that_cannot_be_read_fail(tmp_path: Path, address: str) -> None:
    done = audit(tmp_path, address, "click>=8\n")
    assert done.returncode == 1
    assert "not pinned" in done.stderr


def test_every_pin_is_exact() -> None:
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    pins = [line.partition(" ;")[0] for line in lines if line and line[0] != "#"]
    assert len(pins) > 50
    assert all(pin.count("==") == 1 and not set(pin) & set("<>*~,") for pin in pins)
