"""The machine's load, measured by MLflow and logged with all other metrics."""

import contextlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


class MachineWatch(SystemMetricsMonitor):
    """MLflow's monitor, but for where its metrics go: a store that is away must not end it."""

    def __init__(
        self, run_id: str, log: Callable[[Mapping[str, float], int], None], *, resumed: bool
    ) -> None:
        # Where the run goes on, steps are counted on from those in the store.
        super().__init__(run_id, resume_logging=resumed)  # type: ignore[no-untyped-call]
        logger: Any = SimpleNamespace(record_metrics=log, flush=lambda: None, data=())
        self.mlflow_logger = logger

    def monitor(self) -> None:
        while not self._shutdown_event.is_set():
            self.collect_metrics()  # type: ignore[no-untyped-call]
            if not self._shutdown_event.wait(self.sampling_interval):
                # What is wrong with the disk, the training will run into and say.
                with contextlib.suppress(OSError):
                    self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]
