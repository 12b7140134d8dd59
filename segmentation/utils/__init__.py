"""Files, locks, paths and threads: what any package may use."""
