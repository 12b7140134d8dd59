"""The decoded cache under several processes at once."""

import sys
from pathlib import Path

from tests.helpers.programs import Program

_LOAD = """
import hashlib, sys
from pathlib import Path
from tests.unit.data.test_cache import pixels_of
from tests.unit.data.test_loader import loaded
pixels = pixels_of(loaded(Path(sys.argv[1])))
print(hashlib.sha256(b"".join(one.tobytes() for one in pixels)).hexdigest())
"""


def test_processes_that_meet_damaged_files_at_once_all_get_the_right_pixels(
    pets: Path, program: Program
) -> None:
    command = (sys.executable, "-c", _LOAD, str(pets))
    right = program.run(*command).stdout
    kept = list((program.cache / "decoded" / "32").iterdir())
    assert len(kept) == 17
    for path in kept:
        path.write_bytes(path.read_bytes()[:1000])
    processes = [program.start(*command) for _ in range(3)]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, ends
    assert {out for out, _ in ends} == {right}
    assert sorted(kept) == sorted((program.cache / "decoded" / "32").iterdir())
    again = program.run(*command)
    assert (again.stdout, again.stderr) == (right, "")
