"""Prints, by kind, what became of the tests' hostile, broken and odd files, lists and archives.

python docs/measurements/corpus.py [SEEDS]

The files are made anew from each of so many seeds, from 0 on; 1 unless given.
"""

import sys
import tempfile
from pathlib import Path

from tests.helpers.corpus import write
from tests.helpers.corpus_cases import cases
from tests.helpers.corpus_table import markdown, seen_archives, seen_files, seen_lists

seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
seen = []
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for seed in range(seeds):
        made = cases(seed)
        # Links of the corpus lead to files beside the data set, so each has a folder of its own.
        root = folder / str(seed) / "pets"
        write(root, made)
        seen += seen_files(root, made)
    files = len(seen)
    (folder / "lists").mkdir()
    seen += seen_lists(folder / "lists")
    read = len(seen)
    good = folder / "good" / "pets"
    write(good, [case for case in cases(0) if not case.refusals][:10])
    seen += seen_archives(good, folder / "archives")
print(markdown(seen))
wrong = [one.wrong for one in seen if one.wrong]
print(
    f"\n{files} examples ({seeds} seeds), {read - files} lists, {len(seen) - read} archives; "
    f"{len({one.kind for one in seen})} kinds; {len(wrong)} answers other than documented"
)
for line in wrong:
    print(line)
