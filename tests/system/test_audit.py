"""CI's audit of the pinned dependencies, against advisories served on loopback."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.helpers.programs import PROJECT

RANGES = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
PACKAGE = {"package": {"name": "pillow", "ecosystem": "PyPI"}, "ranges": RANGES}
HOLE = {"id": "PYSEC-2026-1", "summary": "reads what it should not", "affected": [PACKAGE]}


class Advisories(BaseHTTPRequestHandler):
    """An OSV service that knows of a hole in Pillow."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"vulns": [HOLE]} if query["package"]["name"] == "pillow" else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("pins", "advisories", "ignored", "code", "told"),
    [
        ("click==8.5.1\npillow==13.0.0", "/v1/query", "", 1, "PYSEC-2026-1"),
        ("pillow==13.0.0", "/v1/query", "--ignore-vuln PYSEC-2026-1", 0, "No known vulnerab"),
        ("click==8.5.1", "/v1/query", "", 0, "audit: No known vulnerabilities found"),
        ("click==8.5.1", "http://127.0.0.1:9/v1/query", "", 0, "NOT AUDITED"),
        ("click>=8", "/v1/query", "", 1, "not pinned"),
    ],
)
def test_a_known_hole_fails_ci_and_advisories_out_of_reach_are_said(
    tmp_path: Path, address: str, pins: str, advisories: str, ignored: str, code: int, told: str
) -> None:
    """The lines of .ci/run that audit."""
    (tmp_path / "requirements.txt").write_text(pins)
    script = (PROJECT / ".ci" / "run").read_text()
    lines = script[script.index("if ! report=") : script.index("# Programs that")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines.replace(" -s osv", f" -s osv {ignored}")],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PIP_AUDIT_OSV_URL": urljoin(address, advisories)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert told in (done.stderr if code else done.stdout)


def test_every_pin_is_exact() -> None:
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    pins = [line.partition(" ;")[0] for line in lines if line and line[0] != "#"]
    assert len(pins) > 50
    assert all(pin.count("==") == 1 and not set(pin) & set("<>*~,") for pin in pins)
