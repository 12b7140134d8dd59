"""A logged training as one to repeat: its settings, what overrides them, what differs since."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from segmentation.config.training import OWN_DATA, Config, defaults
from segmentation.data.sources import absolute, folder_model_name, is_own, require_source
from segmentation.errors import ConfigError
from segmentation.runtime.device import choose_compute
from segmentation.tracking.runs.logged_settings import augmentation, is_augmentation, used
from segmentation.tracking.runs.run import has_uncommitted_changes
from segmentation.tracking.store import get_run_or_fail
from segmentation.tracking.tags import AUGMENTATION

#: The names that a model has where none is given, by the data.
_USUAL = ("pet-unet", "pet-unet-synthetic")
_EXPECTED = "expected the id of a run of `train`, or of a trial or confirmation of `tune`"
_OF_A_TRAINING = {"data", "epochs", "seed", "model_name"}
#: Of digests and commits so many characters are shown.
_SHOWN = 8


class LoggedTraining:
    """A logged training that is to be repeated; a ConfigError says that the run is no such."""

    def __init__(self, run_id: str) -> None:
        run = get_run_or_fail(run_id, f"like={run_id}", _EXPECTED)
        self.id, self._info, self._data = run_id, run.info, run.data
        self._params = used(run.data.params, run.data.tags)
        # Only a training logs all of these, and a search the last.
        if not self._params.keys() >= _OF_A_TRAINING or "trials" in run.data.params:
            raise ConfigError(
                f"like={run_id}: the run {run.info.run_name} is no training; {_EXPECTED}"
            )
        inputs = run.inputs.dataset_inputs if run.inputs else []
        digests = {tag.value: one.dataset.digest for one in inputs for tag in one.tags}
        self._val_digest = digests.get("validation", "")

    def say(self, text: str) -> str:
        """Return a line for people about this run."""
        return f"Like {self.id}: {text}"

    def settings(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the settings to train with, and lines about them; what is given overrides.

        Raises:
            ConfigError: what comes of it cannot be.
            DataError: the run's data is no longer where it was.
        """
        found: dict[str, Any] = {}
        changed, notes = [], []
        foreign: Sequence[str] = ()  # what is of another layout than the data that is given
        if "data" in given:
            foreign = ("border",) if is_own(given["data"]) else OWN_DATA
        usual = defaults(given.get("encoder", self._params["encoder"])) | {"model_name": ""}
        for option, default in usual.items():
            logged = str(default) if option in foreign else self._params.get(option)
            found[option] = given.get(option, default if logged is None else logged)
            same = option == "augment" and is_augmentation(found[option], self._data.tags)
            if option in given and not same and not _is_same(option, given[option], logged):
                changed.append(f"{option}={given[option]} (it had {logged or 'none'})")
            elif option not in given and logged is None:
                notes.append(f"it has logged no {option}; train's default is taken: {default}")
        but = f", but {', '.join(changed)}" if changed else ""
        notes = [f"the settings of {self._info.run_name}{but}", *notes]
        if "augment" not in given:
            found["augment"] = augmentation(self.id, found["augment"], self._data.tags)
        names = (*_USUAL, folder_model_name(Path(self._params.get("data", ""))))
        if "data" in given and "model_name" not in given and found["model_name"] in names:
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

    def differences(self, tags: Mapping[str, str], val_digest: str) -> list[str]:
        """Return lines on what besides the settings differs, is the same, or is not known.

        The tags are of the run that is about to begin, the digest of its validation images, in the
        length in which MLflow keeps digests.
        """
        commit = get_git_commit(str(Path(__file__))) or ""
        here = {**tags, MLFLOW_GIT_COMMIT: commit, "git.dirty": has_uncommitted_changes()}
        then, now = _facts(self._data.tags, self._val_digest), _facts(here, val_digest)
        known = [name for name in then if then[name] and now[name]]
        found = {
            "differs": [f"{n} {then[n]} there, {now[n]} here" for n in known if then[n] != now[n]],
            "the same": [name for name in known if then[name] == now[name]],
            "cannot be compared": [name for name in then if name not in known],
        }
        return [self.say(f"{how}: {', '.join(names)}") for how, names in found.items() if names]

    def compare(self, dice: float) -> str:
        """Return a line that compares `best/dice` of both runs."""
        there = self._data.metrics.get("best/dice")
        if there is None:
            return self.say(f"it has no best/dice to compare with (it is {self._info.status})")
        if there == dice:
            return self.say(f"best/dice {dice!r} again, equal to the last digit")
        return self.say(f"best/dice {there!r} there, {dice!r} here ({dice - there:+.2g})")


def _is_same(option: str, given: Any, logged: str | None) -> bool:
    """Tell whether two texts mean the same; two paths may lead to one folder."""
    if option == "data" and logged:
        return os.path.realpath(absolute(given)) == os.path.realpath(absolute(logged))
    return str(given) == logged


def _facts(tags: Mapping[str, str], val_digest: str) -> dict[str, str]:
    """Return what a training's figures depend on; empty where that is not known."""
    clean = tags.get("git.dirty") == "false"  # else its commit does not tell the code
    return {
        "train images": tags.get("data.digest", "")[:_SHOWN],
        "val images": val_digest[:_SHOWN],
        "code": tags.get(MLFLOW_GIT_COMMIT, "")[:_SHOWN] if clean else "",
        "PyTorch": tags.get("torch", ""),
        "device": tags.get("device", ""),
        # Behind the first word stands why, and a repeated training has it "as asked".
        "precision": tags.get("amp", "").split(" ")[0],
        "threads": tags.get("threads", ""),
        "augmentation": tags.get(AUGMENTATION, "ours")[:_SHOWN],
    }
