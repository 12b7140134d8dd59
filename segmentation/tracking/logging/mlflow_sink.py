"""How each kind of entry reaches MLflow: in order, and nothing twice."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from segmentation.tracking.inventory.storage import remove_at
from segmentation.tracking.logging.outbox import Entry
from segmentation.tracking.logging.uploader import RefusedError

_MANY = 900  # figures; MLflow takes 1,000 at a time
#: Of an answer of the store with one of these, no later try will have another.
_FINAL = ("INVALID_PARAMETER_VALUE",)
_GONE = "RESOURCE_DOES_NOT_EXIST"
# What is neither the store's doing nor the network's is tried so often.
_TRIES = 3
_IMAGES = "images"
_OF_A_DATASET = ("name", "digest", "source_type", "source", "schema", "profile")
#: MLflow's names of pictures with steps, where ~ stands for /: first NAME.png is written, then
#: NAME+compressed.webp.
_PICTURE = re.compile(r"(?P<key>.*)\+step\+(?P<step>\d+)\+.*")
_FIRST, _SECOND = ".png", "+compressed.webp"

#: Brings a model to the store, given its entry's facts and folder.
Models = Callable[[str, dict[str, Any], Path], None]


class MlflowSink:
    """Brings the entries of one run to MLflow.

    An entry may have arrived before: an earlier process was killed, or a server's answer was lost.
    What MLflow would take twice, figures, pictures and tables, is then looked for first.
    """

    def __init__(self, run_id: str, log_model: Models, *, careful: bool) -> None:
        """Look at nothing yet.

        Args:
            run_id: MLflow's.
            log_model: brings a model to the store, and never twice.
            careful: whether an earlier process may have delivered something.
        """
        self._run_id, self._log_model, self._careful = run_id, log_model, careful
        self._client = mlflow.MlflowClient()
        self._steps: dict[str, set[int]] = {}
        self._tries: dict[int, int] = {}
        self._pictures: set[tuple[str, int]] | None = None
        self._kinds: dict[str, Callable[[Entry], None]] = {
            "params": self._params,
            "tags": self._tags,
            "inputs": self._inputs,
            "picture": self._picture,
            "file": self._file,
            "checkpoint": self._file,
            "table": self._table,
            "model": self._model,
            "end": self._end,
        }

    def write(self, entries: list[Entry]) -> list[Entry]:
        """Bring the first entry, or the first few, to MLflow; see `courier.Delivery`."""
        first = entries[0]
        if first.kind != "metrics" and first.kind not in self._kinds:
            raise RefusedError(f"{first.kind}: the entry {first.number} cannot be read")
        try:
            if first.kind == "metrics":
                return self._metrics(entries)
            self._kinds[first.kind](first)
        except MlflowException as error:
            if error.error_code in _FINAL or (error.error_code == _GONE and self._is_gone()):
                raise RefusedError(f"{first.kind}: {error}") from error
            raise
        except (OSError, SQLAlchemyError):  # also all that the network's library raises
            raise
        except Exception as error:
            self._tries[first.number] = self._tries.get(first.number, 0) + 1
            if self._tries[first.number] >= _TRIES:
                raise RefusedError(f"{first.kind}: {error}") from error
            raise
        return [first]

    def _is_gone(self) -> bool:
        """Tell whether the run itself was deleted."""
        try:
            return bool(self._client.get_run(self._run_id).info.lifecycle_stage != "active")
        except MlflowException as error:
            return bool(error.error_code == _GONE)

    def invalidate(self) -> None:
        """Look again at what is there before anything else is written."""
        self._careful = True
        self._steps, self._pictures = {}, None

    def _metrics(self, entries: list[Entry]) -> list[Entry]:
        taken: list[Entry] = []
        points: list[Metric] = []
        for entry in entries:
            if entry.kind != "metrics" or len(points) + len(entry.metadata["points"]) > _MANY:
                break
            taken.append(entry)
            points += [Metric(*point) for point in entry.metadata["points"]]
        new: dict[tuple[str, int], Metric] = {}
        for point in points:  # one that was stopped and went on may say something twice
            if point.step not in self._known_steps(point.key):
                new.setdefault((point.key, point.step), point)
        try:
            if new:
                self._client.log_batch(self._run_id, metrics=list(new.values()))
        except MlflowException as error:
            if error.error_code in _FINAL and len(taken) > 1:  # it may be one of them
                return self._metrics(entries[:1])
            raise
        for key, step in new:
            self._steps[key].add(step)
        return taken

    def _known_steps(self, key: str) -> set[int]:
        if key not in self._steps:
            there = self._client.get_metric_history(self._run_id, key) if self._careful else []
            self._steps[key] = {point.step for point in there}
        return self._steps[key]

    def _params(self, entry: Entry) -> None:
        # What a training that goes on says otherwise, such as another device, cannot be changed.
        there = self._client.get_run(self._run_id).data.params if self._careful else {}
        params = [Param(key, value) for key, value in entry.metadata.items() if key not in there]
        if params:
            self._client.log_batch(self._run_id, params=params)

    def _tags(self, entry: Entry) -> None:
        tags = [RunTag(key, value) for key, value in entry.metadata.items()]
        self._client.log_batch(self._run_id, tags=tags)

    def _inputs(self, entry: Entry) -> None:
        inputs = [
            DatasetInput(
                dataset=Dataset(**{name: one["dataset"].get(name) for name in _OF_A_DATASET}),
                tags=[InputTag(MLFLOW_DATASET_CONTEXT, one["context"])],
            )
            for one in entry.metadata["inputs"]
        ]
        self._client.log_inputs(self._run_id, inputs)

    def _picture(self, entry: Entry) -> None:
        key, step = entry.metadata["key"], entry.metadata["step"]
        if self._pictures is None:
            self._pictures = self._whole_pictures() if self._careful else set()
        if (key, step) in self._pictures:
            return
        with Image.open(entry.folder / "picture.png", formats=("PNG",)) as picture:
            # At once: MLflow's queue for pictures makes the end of a run wait for up to 2 s.
            self._client.log_image(
                self._run_id,
                picture,
                key=key,
                step=step,
                timestamp=entry.metadata["timestamp"],
                synchronous=True,
            )
        self._pictures.add((key, step))

    def _file(self, entry: Entry) -> None:
        folder, _, name = entry.metadata["path"].rpartition("/")
        self._client.log_artifact(self._run_id, str(entry.folder / name), folder or None)

    def _table(self, entry: Entry) -> None:
        path = entry.metadata["path"]
        folder, _, name = path.rpartition("/")
        if self._careful and name in self._listed(folder):  # MLflow would add the rows to it
            return
        table = json.loads((entry.folder / "table.json").read_text())
        for column, files in entry.metadata["pictures"].items():
            table[column] = [mlflow.Image(str(entry.folder / file)) for file in files]
        ordered = {column: table[column] for column in entry.metadata["columns"]}
        self._client.log_table(self._run_id, ordered, path)

    def _model(self, entry: Entry) -> None:
        self._log_model(self._run_id, entry.metadata, entry.folder)

    def _whole_pictures(self) -> set[tuple[str, int]]:
        """Return key and step of the pictures that are there; halves of others are removed."""
        names = self._listed(_IMAGES)
        whole = {name.removesuffix(_SECOND) for name in names if name.endswith(_SECOND)}
        for name in names:
            if name.endswith(_FIRST) and name.removesuffix(_FIRST) not in whole:
                address = self._client.get_run(self._run_id).info.artifact_uri
                remove_at(address, f"{_IMAGES}/{name}")
        found = [match for name in whole if (match := _PICTURE.fullmatch(name))]
        return {(one["key"].replace("~", "/"), int(one["step"])) for one in found}

    def _end(self, entry: Entry) -> None:
        # One that was finished elsewhere since stays so.
        if self._client.get_run(self._run_id).info.status != "FINISHED":
            self._client.set_terminated(self._run_id, entry.metadata["status"])

    def _listed(self, folder: str) -> list[str]:
        """Return the names of what lies in a folder of the run's artifacts."""
        there = self._client.list_artifacts(self._run_id, folder or None)
        return [item.path.rpartition("/")[2] for item in there]
