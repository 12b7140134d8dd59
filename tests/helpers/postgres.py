"""A PostgreSQL server of the tests' own: on loopback, under its own user, gone afterwards."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.servers import free_port


@contextlib.contextmanager
def running(password: str = "") -> Iterator[str]:
    """Start a server with an empty database; yield its URL, which has no password."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="petseg-postgres-"))
    # PostgreSQL refuses to run as root.
    own: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        own |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    data, port = str(folder / "data"), free_port()
    make = [str(binaries / "initdb"), "-D", data, "-U", "petseg", "--no-sync"]
    make += ["--no-locale", "--encoding=UTF8"]  # the user's may not be there
    make += ["--auth=scram-sha-256", "--pwfile=password"] if password else ["--auth=trust"]
    (folder / "password").write_text(password)  # in a folder that is its user's alone
    subprocess.run(make, check=True, capture_output=True, **own)
    control = [str(binaries / "pg_ctl"), "-D", data, "-w"]
    options = f"-h 127.0.0.1 -p {port} -k {folder}"
    start = [*control, "-l", str(folder / "log"), "-o", options, "start"]
    try:
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, **own)
        yield f"postgresql://petseg@127.0.0.1:{port}/postgres"
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, capture_output=True, **own)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    there = shutil.which("initdb")
    if there:
        return Path(there).parent
    if not found:
        pytest.fail("these tests need PostgreSQL: apt-get install postgresql")
    return found[-1].parent
