"""What besides the settings is no longer as it was when a logged training ran."""

from collections.abc import Mapping
from pathlib import Path

from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from segmentation.tracking.runs.rerun import LoggedTraining
from segmentation.tracking.runs.run import has_uncommitted_changes

#: Of digests and commits so many characters are shown.
_SHOWN = 8


def differences(earlier: LoggedTraining, tags: Mapping[str, str], val_digest: str) -> list[str]:
    """Return lines for people: what differs, what is the same, and what nobody knows.

    Args:
        earlier: the training that is to be repeated.
        tags: of the run that is about to begin.
        val_digest: of its validation images, in the length in which MLflow keeps digests.
    """
    commit = get_git_commit(str(Path(__file__))) or ""
    here = {**tags, MLFLOW_GIT_COMMIT: commit, "git.dirty": has_uncommitted_changes()}
    then, now = _facts(earlier.tags, earlier.val_digest), _facts(here, val_digest)
    known = [name for name in then if then[name] and now[name]]
    found = {
        "differs": [f"{n} {then[n]} there, {now[n]} here" for n in known if then[n] != now[n]],
        "the same": [name for name in known if then[name] == now[name]],
        "cannot be compared": [name for name in then if name not in known],
    }
    return [earlier.say(f"{how}: {', '.join(names)}") for how, names in found.items() if names]


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
    }
