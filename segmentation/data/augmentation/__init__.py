"""Augmentation: our transforms, and pipelines of a user's own."""
