"""A logged training as one to repeat: its settings, what overrides them, its result."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from segmentation.config.training import Config, defaults
from segmentation.data.sources import absolute, require_source
from segmentation.errors import ConfigError
from segmentation.runtime.device import choose_compute
from segmentation.tracking.runs.logged_settings import is_training, used
from segmentation.tracking.store import get_run_or_fail

#: The names that a model has where none is given, by the data.
_USUAL = ("pet-unet", "pet-unet-synthetic")
_EXPECTED = "expected the id of a run of `train`, or of a trial or confirmation of `tune`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoggedTraining:
    """A logged training that is to be repeated.

    Attributes:
        id, name, status: of the run, as MLflow has them.
        params: its settings as they were used, by the parameters' names.
        tags: as they were logged.
        val_digest: of its validation images; empty where it does not tell.
        dice: its `best/dice`, in [0, 1]; None where it has none.
    """

    id: str
    name: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    val_digest: str
    dice: float | None

    def say(self, text: str) -> str:
        """Return a line for people about this run."""
        return f"Like {self.id}: {text}"

    def settings(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the settings to train with, by the parameters' names, and lines about them.

        Args:
            given: what the user gave, by the parameters' names; it overrides what was logged.

        Raises:
            ConfigError: what comes of it cannot be.
            DataError: the run's data is no longer where it was.
        """
        found: dict[str, Any] = {}
        changed, notes = [], []
        usual = defaults(given.get("encoder", self.params["encoder"])) | {"model_name": ""}
        for option, default in usual.items():
            logged = self.params.get(option)
            found[option] = given.get(option, default if logged is None else logged)
            if option in given and not _is_same(option, given[option], logged):
                changed.append(f"{option}={given[option]} (it had {logged or 'none'})")
            elif option not in given and logged is None:
                notes.append(f"it has logged no {option}; train's default is taken: {default}")
        but = f", but {', '.join(changed)}" if changed else ""
        notes = [f"the settings of {self.name}{but}", *notes]
        if "data" in given and "model_name" not in given and found["model_name"] in _USUAL:
            found["model_name"] = ""  # real pets must not come under the drawn ones' name
        try:
            choose_compute(Config.from_options(found).training)
        except ConfigError as error:
            raise ConfigError(
                f"{error} (what you do not give is taken from like={self.id})"
            ) from error
        if "data" not in given:
            require_source(found["data"], f"like={self.id}")
        return found, [self.say(note) for note in notes]

    def compare(self, dice: float) -> str:
        """Return a line that compares `best/dice` of both runs."""
        if self.dice is None:
            return self.say(f"it has no best/dice to compare with (it is {self.status})")
        if self.dice == dice:
            return self.say(f"best/dice {dice!r} again, equal to the last digit")
        return self.say(f"best/dice {self.dice!r} there, {dice!r} here ({dice - self.dice:+.2g})")


def find(run_id: str) -> LoggedTraining:
    """Look a training up in the tracking store.

    Raises:
        ConfigError: there is no such run, it was deleted, or it is no training.
    """
    run = get_run_or_fail(run_id, f"like={run_id}", _EXPECTED)
    name, data = str(run.info.run_name), run.data
    if not is_training(data.params):
        raise ConfigError(f"like={run_id}: the run {name} is no training; {_EXPECTED}")
    inputs = run.inputs.dataset_inputs if run.inputs else []
    digests = {tag.value: one.dataset.digest for one in inputs for tag in one.tags}
    return LoggedTraining(
        id=run_id,
        name=name,
        status=str(run.info.status),
        params=used(data.params, data.tags),
        tags=data.tags,
        val_digest=digests.get("validation", ""),
        dice=data.metrics.get("best/dice"),
    )


def _is_same(option: str, given: Any, logged: str | None) -> bool:
    """Tell whether two texts mean the same; two paths may lead to one folder."""
    if option == "data" and logged:
        return os.path.realpath(absolute(given)) == os.path.realpath(absolute(logged))
    return str(given) == logged
