"""How every kind of run logs: one call for each kind of thing, whether it is queued or not."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.data.dataset import Dataset
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from segmentation.config import file
from segmentation.evaluation.pictures import Picture, encode, try_draw
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import Outbox

#: Begins the keys of what is to be seen first among a run's charts: MLflow sorts them.
GLANCE = "at a glance"


#: Takes entries: at once, or to keep them until they arrive.
Destination = MlflowSink | Outbox


class RunLogger:
    """Logs to one run. Each call returns once its destination has what it was given."""

    def __init__(self, run_id: str, destination: Destination) -> None:
        self.id, self._destination = run_id, destination

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int = 0,
        *,
        model_id: str = "",
        dataset: Dataset | None = None,
    ) -> None:
        """Log metrics of one step, if wanted as those of a logged model on a data set."""
        now = _now()
        points = [[name, float(value), now, step] for name, value in metrics.items()]
        links: dict[str, str] = {}
        if model_id:
            links |= {"model_id": model_id, "run_id": self.id}
        if dataset is not None:
            links |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
        self._destination.put("metrics", {"points": points, "links": links})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; those that are there, as typed or from before, stay as they are."""
        self._destination.put("params", {name: str(value) for name, value in params.items()})

    def log_settings(self, settings: Mapping[str, Any]) -> None:
        """Log settings by the parameters' names: as params, and as a file that `config` takes.

        What a person consents to is not in the file: it is to be said each time.
        """
        self.log_params(settings)
        lasting = {name: one for name, one in settings.items() if name not in file.CONSENTS}
        self.log_text(file.dump(lasting), file.CONFIG)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._destination.put("tags", tags)

    def describe(self, markdown: str) -> None:
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    def rename(self, name: str) -> None:
        self.set_tags({MLFLOW_RUN_NAME: name})

    def log_inputs(self, datasets: Sequence[tuple[Dataset, str]], model_id: str = "") -> None:
        """Log data sets, each with what it was used for, and a model that was used."""
        inputs = [{"dataset": one.to_dict(), "context": context} for one, context in datasets]
        models = [model_id] if model_id else []
        self._destination.put("inputs", {"inputs": inputs, "models": models})

    def log_image_step(self, png: bytes, key: str, step: int = 0) -> None:
        """Log an image that MLflow shows among the charts, those of several steps with a slider.

        Of several runs MLflow shows side by side only images of one step.
        """
        metadata = {"key": key, "step": step, "timestamp": _now()}
        self._destination.put("picture", metadata, {"picture.png": png})

    def log_artifact(self, content: bytes | Path, path: str) -> None:
        """Log a file as the artifact `path`."""
        self._destination.put("file", {"path": path}, {path.rpartition("/")[2]: content})

    def log_text(self, text: str, path: str) -> None:
        """Log a text as the artifact `path`."""
        self.log_artifact(text.encode(), path)

    def log_image(self, draw: Callable[[], Picture], path: str) -> None:
        """Log an image, uint8 (H, W, 3), RGB, as the artifact `path`, a JPEG; see `try_draw`."""
        if content := try_draw(path, lambda: encode(draw(), "JPEG")):
            self.log_artifact(content, path)

    def log_checkpoint(self, file: Path, path: str) -> None:
        """Log the newest of the checkpoints that are written to a file as the artifact `path`."""
        self._destination.put("checkpoint", {"path": path, "file": str(file)})

    def log_table(
        self, columns: Mapping[str, Sequence[Any]], path: str, images: Mapping[str, Sequence[bytes]]
    ) -> None:
        """Log a table as the artifact `path`, a `.json`; its columns of images, PNG, come first."""
        plain = json.dumps({name: list(one) for name, one in columns.items()})
        files: dict[str, bytes | Path] = {"table.json": plain.encode()}
        names: dict[str, list[str]] = {}
        for number, (column, pngs) in enumerate(images.items()):
            names[column] = [f"{number}-{row}.png" for row in range(len(pngs))]
            files |= dict(zip(names[column], pngs, strict=True))
        metadata = {"path": path, "pictures": names, "columns": [*images, *columns]}
        self._destination.put("table", metadata, files)

    def log_model(self, folder: Path, metadata: Mapping[str, Any]) -> None:
        """Log a model that lies in a folder, and register it where `metadata` say so."""
        self._destination.put("model", metadata, {"model": folder})


def png_of(picture: Picture) -> bytes:
    """Encode an image, uint8 (H, W, 3), RGB, quickly: MLflow encodes it again."""
    return encode(picture, "PNG", compress_level=1)


def _now() -> int:
    """Return the time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)
