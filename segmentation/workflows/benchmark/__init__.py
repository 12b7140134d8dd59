"""What the platform costs on this machine: suites of measurements, each of them a run."""
