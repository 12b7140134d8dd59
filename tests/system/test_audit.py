"""The audit of the pinned dependencies, against advisories served on loopback."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.helpers.programs import PROJECT

pytest.importorskip("pip_audit", reason="comes with pip install -e '.[dev]'")

HOLE = {
    "id": "PYSEC-2026-1",
    "summary": "reads what it should not",
    "affected": [
        {
            "package": {"name": "pillow", "ecosystem": "PyPI"},
            "ranges": [
                {
                    "type": "ECOSYSTEM",
                    "events": [{"introduced": "0"}, {"fixed": "13.0.1"}],
                }
            ],
        }
    ],
}


class Advisories:
    """An OSV service that knows of a hole in Pillow, or fails."""

    def __init__(self) -> None:
        self.status, self.asked = 200, 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.asked += 1
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                found = {"vulns": [HOLE]} if query["package"]["name"] == "pillow" else {}
                content = json.dumps(found).encode()
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1/query"


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    service = Advisories()
    yield service
    service.http.shutdown()
    service.http.server_close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with this one's audit and three pinned packages."""
    shutil.copytree(PROJECT / ".ci", tmp_path / ".ci")
    pins = ("click", "pillow", "gunicorn")
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    chosen = [line for line in lines if line.partition("==")[0] in pins]
    (tmp_path / "requirements.txt").write_text("\n".join(chosen) + "\n")
    return tmp_path


def audit(project: Path, *address: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(project / ".ci" / "audit.py"), *address]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_known_hole_fails_and_is_named(project: Path, advisories: Advisories) -> None:
    done = audit(project, advisories.address)
    assert done.returncode == 1, done.stdout
    assert "audit: pillow 13.0.0: PYSEC-2026-1, mended in 13.0.1" in done.stderr
    assert "3 packages, 1 known holes" in done.stdout
    assert advisories.asked == 3


def test_a_hole_that_is_listed_with_its_reason_does_not(
    project: Path, advisories: Advisories
) -> None:
    listed = project / ".ci" / "audit-ignore.txt"
    before = listed.read_text()
    listed.write_text(before + "PYSEC-2026-1 we read no such files\n")
    done = audit(project, advisories.address)
    assert done.returncode == 0, done.stderr
    assert "3 packages, 0 known holes" in done.stdout
    listed.write_text(before + "PYSEC-2026-1\n")
    done = audit(project, advisories.address)
    assert done.returncode == 1
    assert "no reason is given for ignoring PYSEC-2026-1" in done.stderr


def test_what_has_no_known_hole_passes(project: Path, advisories: Advisories) -> None:
    pins = project / "requirements.txt"
    pins.write_text(
        "".join(f"{line}\n" for line in pins.read_text().split("\n") if "click" in line)
    )
    done = audit(project, advisories.address)
    assert done.returncode == 0, done.stderr
    assert "1 packages, 0 known holes" in done.stdout


def test_advisories_out_of_reach_are_said_and_fail_nothing(
    project: Path, advisories: Advisories
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/query"
    advisories.status = 503
    for out_of_reach in (address, advisories.address):
        done = audit(project, out_of_reach)
        assert done.returncode == 0, done.stderr
        assert "advisories cannot be reached: NOT AUDITED" in done.stdout


def test_requirements_that_cannot_be_read_are_our_mistake(project: Path) -> None:
    (project / "requirements.txt").write_text("click>=8\n")
    done = audit(project)
    assert done.returncode == 2
    assert "requirements.txt cannot be audited" in done.stderr


def test_every_pin_is_exact() -> None:
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    pins = [line.partition(" ;")[0] for line in lines if line and line[0] != "#"]
    assert len(pins) > 50
    assert all(pin.count("==") == 1 and not set(pin) & set("<>*~,") for pin in pins)
