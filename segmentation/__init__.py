"""Pet-from-background segmentation: data contract, U-Net, training, tracking."""

import os

# While OpenMP's threads wait for each other they spin, and whatever else runs on the machine goes
# without. So many rounds are enough for a training alone, and few enough for two at once; see
# docs/benchmarks/results.md. Read when PyTorch is imported, here and in processes started from
# here. What a user has set stays.
if not {"OMP_WAIT_POLICY", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
