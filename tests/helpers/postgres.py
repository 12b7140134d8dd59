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
def running(address: str = "127.0.0.1", password: str = "") -> Iterator[str]:
    """Start a server with an empty database; yield its URL, which has no password.

    Args:
        address: on which it listens; hosts of the tests' own reach it on that of their bridge.
        password: which it asks for; empty: none.
    """
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="petseg-postgres-"))
    # PostgreSQL refuses to run as root.
    own: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        own |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    data, port = str(folder / "data"), free_port(address)
    make = [str(binaries / "initdb"), "-D", data, "-U", "petseg", "--no-sync"]
    make += ["--auth=scram-sha-256", "--pwfile=password"] if password else ["--auth=trust"]
    (folder / "password").write_text(password)  # in a folder that is its user's alone
    subprocess.run(make, check=True, capture_output=True, **own)
    if address != "127.0.0.1":
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all petseg samenet trust\n")
    control = [str(binaries / "pg_ctl"), "-D", data, "-w"]
    options = f"-h {address} -p {port} -k {folder}"
    start = [*control, "-l", str(folder / "log"), "-o", options, "start"]
    try:
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, **own)
        yield f"postgresql://petseg@{address}:{port}/postgres"
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
