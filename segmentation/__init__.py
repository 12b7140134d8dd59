"""Pet-from-background segmentation: data contract, U-Net, training, tracking."""

import os

# While OpenMP's threads wait for each other they spin, and whatever else runs on the machine goes
# without: two trainings at once took six times as long. Read when PyTorch is imported, here and in
# processes started from here. What a user has set stays.
if not {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
