"""How each kind of entry reaches MLflow: in order, and nothing twice."""

import itertools
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_IMAGES
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from segmentation.tracking.artifacts import remove_at
from segmentation.tracking.logging.outbox import Entry, Files, RefusedError, write_files
from segmentation.tracking.store import find_run
from segmentation.tracking.tags import SAID, unless_said

#: Of an answer of the store with one of these, no later try will have another.
_FINAL = ("INVALID_PARAMETER_VALUE",)
_GONE = "RESOURCE_DOES_NOT_EXIST"
# What is neither the store's doing nor the network's is tried so often.
_TRIES = 3
#: Where MLflow writes an image of a step: KEY+step+STEP+....png, where ~ stands for / in the key,
#: and then the same with this end.
_IMAGES, _LAST = "images", "+compressed.webp"

#: Brings a model to the store, never twice; given the run's id, an entry's metadata and its folder.
LogModel = Callable[[str, dict[str, Any], Path], None]


class MlflowSink:
    """Brings entries to one run in MLflow: those of an `Outbox` by `write`, or at once by `put`.

    An entry of an outbox may have arrived before: an earlier process was killed, or a server's
    answer was lost. What MLflow would take twice (metrics, images and tables) is then looked for
    first; `careful` says that an earlier process may have delivered something.
    """

    def __init__(
        self, run_id: str, log_model: LogModel | None = None, *, careful: bool = False
    ) -> None:
        self._run_id, self._log_model, self._careful = run_id, log_model, careful
        self._client = mlflow.MlflowClient()
        self._steps: dict[str, set[int]] = {}
        self._tries: dict[int, int] = {}

    def put(self, kind: str, metadata: Mapping[str, Any], files: Files | None = None) -> None:
        """Write one thing straight to MLflow; takes what `Outbox.put` does."""
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), files or {})
            entry = Entry(number=0, kind=kind, metadata=dict(metadata), folder=Path(folder))
            self._steps = {}  # here a step that is logged again has a newer value
            self._send([entry])

    def write(self, entries: list[Entry]) -> list[Entry]:
        """Bring the first entry, or the first few, to MLflow; return those.

        Raises:
            RefusedError: the store will never take the first one.
            Exception: it cannot be reached now, or nobody knows whether that arrived.
        """
        first = entries[0]
        try:
            return self._send(entries)
        except MlflowException as error:
            if error.error_code in _FINAL or (error.error_code == _GONE and self._run_is_gone()):
                raise RefusedError(f"{first.kind}: {error}") from error
            raise
        except (OSError, SQLAlchemyError):  # also all that the network's library raises
            raise
        except Exception as error:
            self._tries[first.number] = self._tries.get(first.number, 0) + 1
            if self._tries[first.number] >= _TRIES:
                raise RefusedError(f"{first.kind}: {error}") from error
            raise

    def invalidate(self) -> None:
        """Look at what is there before anything else is written: the last may have arrived."""
        self._careful = True
        self._steps = {}

    def _send(self, entries: list[Entry]) -> list[Entry]:
        first = entries[0]
        match first.kind:
            case "metrics":
                return self._send_metrics(entries)
            case "params":
                self._send_params(first)
            case "tags":
                self._send_tags(first.metadata)
            case "inputs":
                self._send_inputs(first)
            case "picture":
                self._send_image(first)
            case "file":
                folder, _, name = first.metadata["path"].rpartition("/")
                self._client.log_artifact(self._run_id, str(first.folder / name), folder or None)
            case "checkpoint":
                # Each is written over the one before: it is enough to upload the newest.
                if not any(entry.kind == "checkpoint" for entry in entries[1:]):
                    self._send_checkpoint(first)
            case "table":
                self._send_table(first)
            case "model" if self._log_model is not None:
                self._log_model(self._run_id, first.metadata, first.folder)
            case "end":
                # A run that was finished elsewhere since stays so.
                if self._client.get_run(self._run_id).info.status != "FINISHED":
                    self._client.set_terminated(self._run_id, first.metadata["status"])
            case _:
                raise RefusedError(f"{first.kind}: the entry {first.number} cannot be read")
        return [first]

    def _run_is_gone(self) -> bool:
        run = find_run(self._run_id)
        return run is None or run.info.lifecycle_stage != "active"

    def _send_metrics(self, entries: list[Entry]) -> list[Entry]:
        """Write the metrics of all that come first in one call, which costs 10 to 70 ms."""
        batch = list(itertools.takewhile(lambda entry: entry.kind == "metrics", entries))
        new: dict[tuple[str, int], Metric] = {}
        for entry in batch:
            for values in entry.metadata["points"]:
                point = Metric(*values, **entry.metadata.get("links", {}))
                # A training that was stopped and went on may log an epoch twice.
                if point.step not in self._known_steps(point.key):
                    new.setdefault((point.key, point.step), point)
        try:
            self._client.log_batch(self._run_id, metrics=list(new.values()))
        except MlflowException as error:
            if error.error_code in _FINAL and len(batch) > 1:  # it may be one of them
                return self._send_metrics(entries[:1])
            raise
        for key, step in new:
            self._steps[key].add(step)
        return batch

    def _known_steps(self, key: str) -> set[int]:
        if key not in self._steps:
            there = self._client.get_metric_history(self._run_id, key) if self._careful else []
            self._steps[key] = {point.step for point in there}
        return self._steps[key]

    def _send_params(self, entry: Entry) -> None:
        # MLflow refuses another value: the launcher has logged `1e-3` as typed, for one.
        there = self._client.get_run(self._run_id).data.params
        params = [Param(key, value) for key, value in entry.metadata.items() if key not in there]
        self._client.log_batch(self._run_id, params=params)

    def _send_tags(self, new: Mapping[str, str]) -> None:
        if new.keys() & SAID:
            new = unless_said(new, self._client.get_run(self._run_id).data.tags)
        tags = [RunTag(key, value) for key, value in new.items()]
        self._client.log_batch(self._run_id, tags=tags)

    def _send_inputs(self, entry: Entry) -> None:
        datasets = [
            DatasetInput(
                Dataset(**one["dataset"]), [InputTag(MLFLOW_DATASET_CONTEXT, one["context"])]
            )
            for one in entry.metadata["inputs"]
        ]
        models = [LoggedModelInput(model_id=model) for model in entry.metadata.get("models", ())]
        try:
            self._client.log_inputs(self._run_id, datasets, models)
        except MlflowException as error:
            # MLflow looks whether a data set is there and then adds it. Of two processes that have
            # both found nothing the database refuses one, which finds it when it looks again.
            if error.error_code != "BAD_REQUEST":
                raise
            self._client.log_inputs(self._run_id, datasets, models)

    def _send_image(self, entry: Entry) -> None:
        key, step = entry.metadata["key"], entry.metadata["step"]
        start = f"{key.replace('/', '~')}+step+{step}+"
        if self._careful:
            there = [name for name in self._names_in(_IMAGES) if name.startswith(start)]
            if any(name.endswith(_LAST) for name in there):
                return
            for name in there:
                address = self._client.get_run(self._run_id).info.artifact_uri
                remove_at(address, f"{_IMAGES}/{name}")
        # Not by MLflow's `log_image`, whose second file, which its pages show, is 256 pixels wide.
        self._client.set_tag(self._run_id, MLFLOW_LOGGED_IMAGES, True)
        name = f"{start}timestamp+{entry.metadata['timestamp']}+{uuid.uuid4()}"
        with (
            Image.open(entry.folder / "picture.png", formats=("PNG",)) as image,
            tempfile.TemporaryDirectory() as stage,
        ):
            for ending in (".png", _LAST):
                image.save(f"{stage}/{name}{ending}")
                self._client.log_artifact(self._run_id, f"{stage}/{name}{ending}", _IMAGES)

    def _send_checkpoint(self, entry: Entry) -> None:
        file = Path(entry.metadata.get("file", entry.folder))
        folder, _, name = entry.metadata["path"].rpartition("/")
        if file.is_file():
            with tempfile.TemporaryDirectory(dir=file.parent) as stage:
                shutil.copyfile(file, f"{stage}/{name}")
                self._client.log_artifact(self._run_id, f"{stage}/{name}", folder)

    def _send_table(self, entry: Entry) -> None:
        path = entry.metadata["path"]
        folder, _, name = path.rpartition("/")
        if self._careful and name in self._names_in(folder):  # MLflow would add the rows to it
            return
        table = json.loads((entry.folder / "table.json").read_text())
        for column, files in entry.metadata["pictures"].items():
            table[column] = [mlflow.Image(str(entry.folder / file)) for file in files]
        ordered = {column: table[column] for column in entry.metadata["columns"]}
        self._client.log_table(self._run_id, ordered, path)

    def _names_in(self, folder: str) -> list[str]:
        """Return the names of what lies in a folder of the run's artifacts."""
        there = self._client.list_artifacts(self._run_id, folder or None)
        return [item.path.rpartition("/")[2] for item in there]
