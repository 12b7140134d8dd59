"""Runs: how they open, end, resume and repeat."""
