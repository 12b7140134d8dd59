"""Arithmetic on counts of pixels."""
