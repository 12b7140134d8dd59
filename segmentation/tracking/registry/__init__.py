"""Registered models: published, loaded, described."""
