"""Machines of the tests' own: network namespaces on one bridge, which need root and iproute2."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest


@dataclasses.dataclass(frozen=True)
class Host:
    """One machine.

    Attributes:
        name: of its namespace.
        address: by which the others know it.
        outside: the address by which it knows this machine.
    """

    name: str
    address: str
    outside: str

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def cut_off(self) -> None:
        _ip("link", "set", f"{self.name}v", "down")

    def join(self) -> None:
        _ip("link", "set", f"{self.name}v", "up")


@contextlib.contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
    """Make so many machines that reach each other and this one; remove them afterwards."""
    # Of the test process's own, since several run at once.
    bridge, network = f"pt{os.getpid() % 100000}", f"10.213.{os.getpid() % 250}"
    outside = f"{network}.254"
    made = [Host(f"{bridge}n{i}", f"{network}.{i + 1}", outside) for i in range(number)]
    if os.geteuid() != 0 or not shutil.which("ip") or not _permitted(bridge):
        pytest.skip("machines of the tests' own need root, iproute2 and the right to make networks")
    try:
        _ip("addr", "add", f"{outside}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in made:
            inside = ("-n", host.name)
            _ip("netns", "add", host.name)
            peer = ("peer", "name", "eth0", "netns", host.name)
            _ip("link", "add", f"{host.name}v", "type", "veth", *peer)
            _ip("link", "set", f"{host.name}v", "master", bridge)
            _ip("link", "set", f"{host.name}v", "up")
            _ip(*inside, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")
        yield made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)


def _permitted(bridge: str) -> bool:
    """Make the bridge; tell whether that was allowed."""
    make = ["ip", "link", "add", bridge, "type", "bridge"]
    return subprocess.run(make, check=False, capture_output=True).returncode == 0


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
