"""Random variants of images and masks."""
