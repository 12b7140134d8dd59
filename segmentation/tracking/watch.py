"""The machine's own figures, watched by MLflow and posted with all others."""

from collections.abc import Callable, Mapping

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

#: Takes figures of one step.
Log = Callable[[Mapping[str, float], int], None]


class MachineWatch(SystemMetricsMonitor):  # type: ignore[misc]  # MLflow's have no types
    """MLflow's monitor, but for where the figures go: a store that is away must not end it."""

    def __init__(self, run_id: str, log: Log, *, resumed: bool) -> None:
        """Watch nothing yet.

        Args:
            run_id: MLflow's.
            log: takes the figures.
            resumed: whether the run has such figures already, behind which these go on.
        """
        super().__init__(run_id, resume_logging=resumed)
        self._log = log

    def monitor(self) -> None:
        """Watch until `finish`, whatever the store says of the run."""
        while not self._shutdown_event.is_set():
            self.collect_metrics()
            if not self._shutdown_event.wait(self.sampling_interval):
                self.publish_metrics(self.aggregate_metrics())

    def publish_metrics(self, metrics: Mapping[str, float]) -> None:
        """Post the figures."""
        self._log(
            {f"{self._metrics_prefix}{name}": value for name, value in metrics.items()},
            self._logging_step,
        )
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()

    def finish(self) -> None:
        """Watch no longer."""
        self._shutdown_event.set()
        if self._process is not None:
            self._process.join()
            self._process = None
