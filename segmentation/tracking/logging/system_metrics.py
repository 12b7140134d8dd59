"""The machine's own figures, watched by MLflow and posted with all others."""

import contextlib
from collections.abc import Callable, Mapping

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

#: Takes figures of one step.
Log = Callable[[Mapping[str, float], int], None]


class MachineWatch(SystemMetricsMonitor):
    """MLflow's monitor, but for where the figures go: a store that is away must not end it."""

    def __init__(self, run_id: str, log: Log, after: int | None = None) -> None:
        """Watch nothing yet.

        Args:
            run_id: MLflow's.
            log: takes the figures.
            after: the first step that is free as far as is known here, where the run has such
                figures already; the store is asked, too.
        """
        super().__init__(run_id, resume_logging=after is not None)  # type: ignore[no-untyped-call]
        self._log = log
        self._logging_step = max(self._logging_step, (after or 0))

    def monitor(self) -> None:
        """Watch until `finish`, whatever the store says of the run."""
        while not self._shutdown_event.is_set():
            self.collect_metrics()  # type: ignore[no-untyped-call]
            if not self._shutdown_event.wait(self.sampling_interval):
                # What is wrong with the disk, the training will run into and say.
                with contextlib.suppress(OSError):
                    self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]

    def publish_metrics(self, metrics: Mapping[str, float]) -> None:
        """Post the figures."""
        self._log(
            {f"{self._metrics_prefix}{name}": value for name, value in metrics.items()},
            self._logging_step,
        )
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Watch no longer."""
        self._shutdown_event.set()
        if self._process is not None:
            self._process.join()
            self._process = None
