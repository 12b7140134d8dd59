"""Where code runs: device, processes, signals."""
