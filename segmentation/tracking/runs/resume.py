"""A training that was stopped, as one to go on with: its settings, and what it has left."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow

from segmentation.config.training import FREE
from segmentation.data.sources import require_source
from segmentation.errors import ConfigError, PeerLostError
from segmentation.tracking.addresses import require_own
from segmentation.tracking.runs import stale
from segmentation.tracking.runs.heartbeat import GRACE_PERIOD
from segmentation.tracking.runs.logged_settings import augmentation, is_augmentation, kept, used
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.runs.training_run import ARTIFACT
from segmentation.tracking.store import find_runs, get_run_or_fail
from segmentation.tracking.tags import FAILURE, GROUP, read

_EXPECTED = "expected the id of a run of `train`"


class ResumableRun:
    """A training that was begun, found by the id of its run; `options` are its parameters.

    If `key`, of the processes that are here to go on with it, is the same that they had when they
    began, none of them trains it any more. A ConfigError says that there is no such run, that it
    was deleted, is no training, or still runs.
    """

    def __init__(self, run_id: str, key: str = "") -> None:
        self._folder = RunFolder(run_id)
        run = get_run_or_fail(run_id, f"resume={run_id}", _EXPECTED)
        self._id, self.name = run_id, str(run.info.run_name)
        self._status = str(run.info.status)
        self._params, self._tags = run.data.params, read(run.data.tags)
        self.options = kept(self._tags)
        if not self.options:
            raise ConfigError(f"resume={run_id}: the run {self.name} is no training; {_EXPECTED}")
        require_own(run.info.artifact_uri)
        if self._status == "RUNNING" and not (key and key == self._tags.get(GROUP)):
            running = stale.judge(run)
            if running.verdict == stale.ALIVE:
                raise ConfigError(
                    f"resume={run_id}: it is still trained: {running.why}; wait for its end, or "
                    "end that process first (one of another machine counts as gone "
                    f"{GRACE_PERIOD:.0f} s after it was last heard of)"
                )

    @property
    def finished(self) -> bool:
        # MLflow calls a notebook's run FINISHED, though the training in it was stopped.
        return self._status == "FINISHED" and FAILURE not in self._tags

    @property
    def trouble(self) -> str:
        """Why it ended, where the same would happen again; else empty."""
        failure = self._tags.get(FAILURE, "")
        final = self._status == "FAILED" and failure != PeerLostError.TEXT
        return failure if final else ""

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return its parameters, but where and how it is computed as the user says.

        Raises:
            ConfigError: something else that was given differs; all of it is named.
            DataError: the data is no longer where it was.
        """
        resolved = used(self._params, self._tags)
        differ = [
            f"{name}={value} (it was begun with {self.options[name]})"
            for name, value in given.items()
            if name in self.options
            and name not in FREE
            and not (name == "augment" and is_augmentation(value, self._tags))
            and str(value)
            not in (str(self.options[name]), self._params.get(name), resolved.get(name))
        ]
        if differ:
            raise ConfigError(
                f"resume={self._id}: that training has other settings: {', '.join(differ)}; leave "
                "them out to go on with it, or train anew without resume"
            )
        if "data" not in given:
            require_source(self.options["data"], f"resume={self._id}")
        augment = given.get("augment", self.options["augment"])
        own = {"augment": augmentation(self._id, augment, self._tags)}
        return self.options | own | {name: given[name] for name in FREE if name in given}

    def checkpoint(self) -> Path | None:
        """Return where its checkpoint lies on this machine, fetched from the store if need be."""
        path = self._folder.checkpoint
        if path.exists():
            return path
        folder, _, name = ARTIFACT.rpartition("/")
        client = mlflow.MlflowClient()
        if ARTIFACT not in [item.path for item in client.list_artifacts(self._id, folder)]:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as stage:
            fetched = client.download_artifacts(self._id, ARTIFACT, stage)
            os.replace(shutil.move(fetched, f"{stage}/{name}"), path)
        return path


def of_group(key: str) -> str | None:
    """Return the id of the run that several processes had begun, by its name; None: none."""
    found = find_runs(f"tags.`{GROUP}` = '{key}'")
    return str(found[0].info.run_id) if found else None
