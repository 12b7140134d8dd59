"""Time of an epoch and peak memory, by the number of training images.

    python -m docs.benchmarks.scale [IMAGES ...]

from the repository's root, 100, 1000 and 3680 (the whole trainval list) unless given, rising. The
images are drawn, 256 pixels large, the network is narrow: it is the data that grows.
"""

import resource
import sys
from pathlib import Path

from docs.benchmarks.common import images_per_second, new_program, run
from segmentation.data.synthetic import write_dataset

_TRAINING = {"val_images": 20, "image_size": 256, "width": 8, "epochs": 4, "resizing": "fixed"}


def main() -> None:
    counts = sorted(int(word) for word in sys.argv[1:]) or [100, 1000, 3680]
    with new_program() as program:
        folder = Path(program.folder.parent, "pets")
        # A fifth is in the gate split, on which nobody trains.
        write_dataset(folder, 60 + counts[-1] * 4 // 3, 20, seed=1)
        for count in counts:
            began, ended = run(program, "train", data=folder, train_images=count, **_TRAINING)
            # Of all programs so far; so it is this one's if memory grows.
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            epoch = count / images_per_second(program)
            print(
                f"{count} images: {epoch:.2f} s an epoch, {1000 * epoch / count:.2f} ms an image; "
                f"at most {peak:.0f} MiB; the whole command {ended - began:.0f} s"
            )


if __name__ == "__main__":
    main()
