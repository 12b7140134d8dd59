"""What a training says of itself: written to disk at once, and to MLflow as soon as it can be."""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from mlflow.data.dataset import Dataset
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from PIL import Image

from segmentation.errors import TrackingError
from segmentation.evaluation.figures import Picture
from segmentation.tracking.logging.mlflow_sink import MlflowSink, Models
from segmentation.tracking.logging.outbox import Outbox
from segmentation.tracking.logging.uploader import Uploader
from segmentation.utils.locks import is_held
from segmentation.utils.paths import run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTBOX, LOCK = "outbox", "lock"
#: The file in a run's folder that tells of which tracking store it is.
STORE = "store"
#: The tag with the reason why a run failed.
FAILURE = "failure"


class BusyError(TrackingError):
    """Another process writes the run."""


@contextlib.contextmanager
def run_lock(run_id: str) -> Iterator[None]:
    """Let one process at a time write for a run.

    Raises:
        BusyError: another one does.
    """
    folder = run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError(
            f"run {run_id} is written by another process, which still lives; wait for its end, or "
            "end it first"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(run_id: str) -> bool:
    """Tell whether a process of this machine and cache folder writes a run now."""
    return is_held(run_folder(run_id) / LOCK)


class RunLogger:
    """Takes what a run is to show, and sees to it that it arrives.

    Every call returns once it is on this machine's disk; a store that is slow, or away, holds
    nobody up.
    """

    def __init__(
        self,
        run_id: str,
        log_model: Models,
        say: Callable[[str], None],
        *,
        careful: bool,
        going_on: bool = False,
    ) -> None:
        """Begin to deliver, also what an earlier process of this run has left.

        Args:
            run_id: MLflow's.
            log_model: brings a model to the store, and never twice.
            say: told of trouble.
            careful: whether an earlier process may have delivered something.
            going_on: whether the training goes on, whatever was said of its end.
        """
        self._outbox = Outbox(run_folder(run_id) / OUTBOX)
        if going_on:  # what an earlier process has said of its end is no longer true
            self._outbox.discard(lambda entry: entry.kind == "end" or FAILURE in entry.metadata)
        self._delivery, self._say = MlflowSink(run_id, log_model, careful=careful), say
        self.courier = Uploader(self._outbox, self._delivery, say)

    def next_step(self, prefix: str) -> int:
        """Return the step behind all that wait of figures whose names begin so."""
        waiting = [
            step
            for entry in self._outbox.pending()
            if entry.kind == "metrics"
            for name, _, _, step in entry.metadata["points"]
            if name.startswith(prefix)
        ]
        return max(waiting, default=-1) + 1

    def log_metrics(self, figures: Mapping[str, float], step: int = 0) -> None:
        """Log figures of one step."""
        now = _now()
        points = [[name, float(value), now, step] for name, value in figures.items()]
        self._outbox.put("metrics", {"points": points})

    def log_params(self, settings: Mapping[str, Any]) -> None:
        """Log settings; those there already must be equal."""
        self._outbox.put("params", {name: str(value) for name, value in settings.items()})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._outbox.put("tags", tags)

    def describe(self, markdown: str) -> None:
        """Set the run's description."""
        self.set_tags({MLFLOW_RUN_NOTE: markdown})

    def rename(self, name: str) -> None:
        """Give the run another name."""
        self.set_tags({MLFLOW_RUN_NAME: name})

    def log_inputs(self, datasets: Sequence[tuple[Dataset, str]]) -> None:
        """Log data sets, each with what it was used for."""
        told = [{"dataset": one.to_dict(), "context": context} for one, context in datasets]
        self._outbox.put("inputs", {"inputs": told})

    def log_image_step(self, png: bytes, key: str, step: int) -> None:
        """Log a picture of one step, which MLflow's UI shows behind a slider."""
        facts = {"key": key, "step": step, "timestamp": _now()}
        self._outbox.put("picture", facts, {"picture.png": png})

    def log_artifact(self, content: bytes | Path, path: str) -> None:
        """Log a file as the artifact `path`."""
        self._outbox.put("file", {"path": path}, {path.rpartition("/")[2]: content})

    def log_dict(self, content: Any, path: str) -> None:
        """Log what JSON can hold as the artifact `path`."""
        self.log_artifact(json.dumps(content, indent=2).encode(), path)

    def log_image(self, picture: Picture, path: str) -> None:
        """Log a picture, uint8 (H, W, 3), as the artifact `path`, of the kind that its end says."""
        stream = io.BytesIO()
        kind = "PNG" if path.endswith(".png") else "JPEG"
        Image.fromarray(picture).save(stream, kind)
        self.log_artifact(stream.getvalue(), path)

    def log_figure(self, figure: "Figure", path: str) -> None:
        """Log a figure of matplotlib's as the artifact `path`, a PNG."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        self.log_artifact(stream.getvalue(), path)

    def log_checkpoint(self, path: Path, name: str) -> None:
        """Keep a checkpoint as an artifact, in the place of an older one."""
        files = {name.rpartition("/")[2]: path}
        self._outbox.put("checkpoint", {"path": name}, files, instead=True)

    def log_table(
        self, columns: Mapping[str, Sequence[Any]], path: str, pictures: Mapping[str, list[bytes]]
    ) -> None:
        """Log a table as the artifact `path`.

        Args:
            columns: what JSON can hold, by column.
            path: ends in `.json`.
            pictures: columns of pictures, PNG, which come first.
        """
        plain = json.dumps({name: list(one) for name, one in columns.items()})
        content: dict[str, bytes | Path] = {"table.json": plain.encode()}
        named: dict[str, list[str]] = {}
        for number, (column, pngs) in enumerate(pictures.items()):
            named[column] = [f"{number}-{row}.png" for row in range(len(pngs))]
            content |= dict(zip(named[column], pngs, strict=True))
        facts = {"path": path, "pictures": named, "columns": [*pictures, *columns]}
        self._outbox.put("table", facts, content)

    def log_model(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Log a model that lies in a folder, as `facts` say, and register it where they say so."""
        self._outbox.put("model", facts, {"model": folder})

    def end(self, status: str) -> None:
        """End the run with a status, after all else has arrived."""
        self._outbox.put("end", {"status": status})

    def finish(self, patience: float) -> bool:
        """Deliver all that is left; return whether all has arrived.

        Args:
            patience: for so many seconds a store that does not answer is waited for.

        Raises:
            TrackingError: the store has refused something for good.
        """
        if not self.courier.alive:  # this was posted after an earlier end
            self.courier = Uploader(self._outbox, self._delivery, self._say)
        arrived = self.courier.finish(patience)
        if refused := self._outbox.rejected():
            raise TrackingError(
                f"the tracking store has refused {len(refused)} entries, which lie in "
                f"{self._outbox.folder / 'refused'}: {refused[0][:300]}"
            )
        return arrived


def png_of(picture: Picture) -> bytes:
    """Encode a picture, uint8 (H, W, 3), quickly: MLflow writes it anew."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _now() -> int:
    """Return the time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)
