"""One training on two machines with a network between them, which fails for a while."""

import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.programs import TINY, Program, documented, entry_command
from tests.helpers.stopped import OFTEN, SHORT
from tests.helpers.waiting import read_until
from tests.system.test_process_group import FP32, curve, wait_for_epoch

pytestmark = pytest.mark.slow

_PORT = 29411


@dataclasses.dataclass(frozen=True)
class Host:
    """One machine: its network namespace, and by which address the others know it."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def cut_off(self) -> None:
        _ip("link", "set", f"{self.name}v", "down")

    def join(self) -> None:
        _ip("link", "set", f"{self.name}v", "up")


@pytest.fixture
def two() -> Iterator[list[Host]]:
    """Network namespaces on one bridge, which reach each other."""
    # Of the test process's own, since several run at once.
    bridge, network = f"pt{os.getpid() % 100000}", f"10.213.{os.getpid() % 250}"
    made = [Host(f"{bridge}n{i}", f"{network}.{i + 1}") for i in range(2)]
    if os.geteuid() != 0 or not shutil.which("ip") or not _permitted(bridge):
        pytest.skip("two machines need root, iproute2 and the right to make networks")
    try:
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


def start(
    program: Program, here: Host, first: Host, options: dict[str, object], name: str
) -> "subprocess.Popen[str]":
    """Start one machine's part of a training by the documented command."""
    arguments = shlex.join(entry_command("train", **options)[1:])
    code = documented("several-machines.md", "--rdzv-endpoint=")
    for said, own in {
        "FIRST=10.0.0.1": f"FIRST={first.address}",
        "OWN=10.0.0.1": f"OWN={here.address}",
        "HOST=1 ": f"HOST={int(here == first)} ",
        ":29400": f":{_PORT}",
        "--rdzv-id=NAME": f"--rdzv-id={name}",
        "-m experiments.train --data /path/to/pets": arguments,
        "\ntorchrun": f"\nexec {shlex.quote(sys.executable)} -m torch.distributed.run",
    }.items():
        assert code.count(said) == 1, said
        code = code.replace(said, own)
    # Each machine has a cache of its own, and so checkpoints of its own.
    variables = {
        "OMP_NUM_THREADS": "1",
        "PETSEG_CACHE": str(program.cache / here.name),
        "PETSEG_GROUP_SECONDS": "10",
        "MLFLOW_TRACKING_URI": program.store,
        **OFTEN,
    }
    return program.start(*here.command("bash", "-c", code), **variables)


def test_two_machines_train_one_model(tmp_path: Path, pets: Path, two: list[Host]) -> None:
    both = Program.under(tmp_path)
    parts = [start(both, host, two[0], {**TINY, **FP32, "data": pets}, "curve") for host in two]
    ends = [part.communicate(timeout=300) for part in parts]
    assert [part.returncode for part in parts] == [0, 0], ends
    assert sum("Score:" in out for out, _ in ends) == 1
    assert [step for step, _ in curve(both, "val/dice")] == [1, 2, 3]
    # Each machine decoded for itself, once, and nothing is left of the checkpoints.
    for host in two:
        assert list((both.cache / host.name / "decoded").glob("*/*.npz"))
        assert not list((both.cache / host.name / "runs").glob("*/checkpoint"))


@pytest.mark.full
def test_a_machine_that_is_cut_off_comes_back_and_the_training_ends_well(
    tmp_path: Path, pets: Path, two: list[Host]
) -> None:
    program = Program.under(tmp_path)
    options: dict[str, object] = {**SHORT, **FP32, "data": pets, "epochs": 150}
    first, second = (start(program, host, two[0], options, "cut") for host in two)
    try:
        read_until(first, "Epoch")
        wait_for_epoch(program, 20)
        two[1].cut_off()
        time.sleep(20)
        reached = max(step for step, _ in curve(program, "val/dice"))
        assert reached < 150
        two[1].join()
        deadline = time.monotonic() + 300
        while first.poll() is None:
            # Its own launcher may have given up; whoever runs it starts it again.
            if second.poll() is not None:
                second.communicate()
                second = start(program, two[1], two[0], options, "cut")
            assert time.monotonic() < deadline
            time.sleep(0.5)
        out, err = first.communicate(timeout=60)
        assert first.returncode == 0, err
        assert "Going on with " in out
        assert "another process of this training has gone" in err
    finally:
        for process in (first, second):
            process.terminate()
            process.communicate(timeout=60)
    assert [step for step, _ in curve(program, "val/dice")] == list(range(1, 151))
    assert program.the_run.info.status == "FINISHED"
    assert len(program.versions()) == 1
