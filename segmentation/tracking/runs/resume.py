"""A training that was stopped, as one to go on with: its settings, and what it has left."""

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow

from segmentation.config.training import FREE
from segmentation.data.sources import require_source
from segmentation.errors import ConfigError, PeerLostError
from segmentation.tracking.addresses import require_own
from segmentation.tracking.runs.heartbeat import GRACE_PERIOD, ProcessInfo
from segmentation.tracking.runs.logged_settings import kept, used
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.runs.training_run import ARTIFACT
from segmentation.tracking.store import find_tagged, get_run_or_fail
from segmentation.tracking.tags import FAILURE, GROUP, read

_EXPECTED = "expected the id of a run of `train`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResumableRun:
    """A training that was begun.

    Attributes:
        id, name, status: of the run, as MLflow has them.
        options: its parameters, by their names.
        params, tags: as they were logged.
    """

    id: str
    name: str
    status: str
    options: dict[str, Any]
    params: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @property
    def trouble(self) -> str:
        """Why it ended, where the same would happen again; else empty."""
        failure = self.tags.get(FAILURE, "")
        final = self.status == "FAILED" and failure != PeerLostError.TEXT
        return failure if final else ""

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return its parameters, but where and how it is computed as the user says.

        Raises:
            ConfigError: something else that was given differs; all of it is named.
            DataError: the data is no longer where it was.
        """
        resolved = used(self.params, self.tags)
        differ = [
            f"{name}={value} (it was begun with {self.options[name]})"
            for name, value in given.items()
            if name in self.options
            and name not in FREE
            and str(value)
            not in (str(self.options[name]), self.params.get(name), resolved.get(name))
        ]
        if differ:
            raise ConfigError(
                f"resume={self.id}: that training has other settings: {', '.join(differ)}; leave "
                "them out to go on with it, or train anew without resume"
            )
        if "data" not in given:
            require_source(self.options["data"], f"resume={self.id}")
        return self.options | {name: given[name] for name in FREE if name in given}

    def checkpoint(self) -> Path | None:
        """Return where its checkpoint lies on this machine, fetched from the store if need be."""
        path = RunFolder(self.id).checkpoint
        if path.exists():
            return path
        folder, _, name = ARTIFACT.rpartition("/")
        client = mlflow.MlflowClient()
        if ARTIFACT not in [item.path for item in client.list_artifacts(self.id, folder)]:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as stage:
            fetched = client.download_artifacts(self.id, ARTIFACT, stage)
            os.replace(shutil.move(fetched, f"{stage}/{name}"), path)
        return path


def of_group(key: str) -> str | None:
    """Return the id of the run that several processes had begun, by its name; None: none."""
    run = next(find_tagged(GROUP, f"= '{key}'"), None)
    return str(run.info.run_id) if run else None


def find(run_id: str, key: str = "") -> ResumableRun:
    """Look a training up in the tracking store.

    Args:
        run_id: of it.
        key: of the processes that are here to go on with it; if it is the same that they had when
            they began, none of them trains it any more.

    Raises:
        ConfigError: there is no such run, it was deleted, it is no training, or it still runs.
    """
    RunFolder(run_id)  # raises where it could be no id
    run = get_run_or_fail(run_id, f"resume={run_id}", _EXPECTED)
    name, tags = str(run.info.run_name), read(run.data.tags)
    options = kept(tags)
    if not options:
        raise ConfigError(f"resume={run_id}: the run {name} is no training; {_EXPECTED}")
    require_own(run.info.artifact_uri)
    sign = ProcessInfo.of(tags)
    if run.info.status == "RUNNING" and sign and not (key and key == tags.get(GROUP)):
        _require_dead(run_id, sign)
    status = str(run.info.status)
    return ResumableRun(
        id=run_id, name=name, status=status, options=options, params=run.data.params, tags=tags
    )


def _require_dead(run_id: str, sign: ProcessInfo) -> None:
    """Raise a ConfigError where a process may still train."""
    silent = time.time() - sign.seen
    if sign.is_local() and sign.is_alive():
        raise ConfigError(
            f"resume={run_id}: it is still trained, by process {sign.pid} of this machine; wait "
            "for its end, or end that process first"
        )
    if not sign.is_local() and silent < GRACE_PERIOD:
        raise ConfigError(
            f"resume={run_id}: it may still be trained, by process {sign.pid} of another machine "
            f"({sign.host}), which gave a sign of life {silent:.0f} s ago; if that was its last, "
            f"go on {GRACE_PERIOD - silent:.0f} s from now"
        )
