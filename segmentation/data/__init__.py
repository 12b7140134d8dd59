"""From files on disk to batches."""

import os

# The import of Albumentations would otherwise ask the network for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
