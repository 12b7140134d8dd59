"""What besides the settings is no longer as it was when a logged training ran."""

from collections.abc import Mapping
from pathlib import Path

from mlflow.utils.git_utils import get_git_commit

from segmentation.tracking.runs.rerun import LoggedTraining
from segmentation.tracking.runs.run import has_uncommitted_changes

#: Of digests and commits so many characters are shown.
_SHOWN = 8


def differences(earlier: LoggedTraining, tags: Mapping[str, str], val_digest: str) -> list[str]:
    """Return a line for people about each thing that differs, or one that all is the same.

    Args:
        earlier: the training that is to be repeated.
        tags: of the run that is about to begin.
        val_digest: of its validation images, in the length in which MLflow keeps digests.
    """
    told = {
        "PyTorch": (earlier.tags.get("torch"), tags["torch"]),
        "device": (earlier.tags.get("device"), tags["device"]),
        # Behind the first word stands why, and a repeated training has it "as asked".
        "precision": (earlier.tags.get("amp", "").split(" ")[0], tags["amp"].split(" ")[0]),
        "threads": (earlier.tags.get("threads"), tags["threads"]),
    }
    known = {name: (then, now) for name, (then, now) in told.items() if then}
    surroundings = _differing(known)
    lines = [
        _data(earlier, tags["data.digest"], val_digest),
        _code(earlier.tags),
        f"the surroundings differ: {surroundings}" if surroundings else "",
    ]
    same = f"the same {', '.join(['data', 'code', *known])}"
    return [earlier.say(line) for line in lines if line] or [earlier.say(same)]


def _data(earlier: LoggedTraining, train: str, val: str) -> str:
    """Say how the data differ; nothing where they are the same."""
    digests = {"train": (earlier.tags.get("data.digest"), train), "val": (earlier.val_digest, val)}
    known = {name: (then[:_SHOWN], now[:_SHOWN]) for name, (then, now) in digests.items() if then}
    if not known:
        return "the data cannot be compared: that run has no digest of it"
    found = _differing(known)
    return f"the data differ: digest of {found}" if found else ""


def _code(tags: Mapping[str, str]) -> str:
    """Say how the code differs; nothing where it is the same."""
    then, now = tags.get("mlflow.source.git.commit"), get_git_commit(str(Path(__file__)))
    if not then or not now:
        where = "here" if then else "there"
        return f"the code cannot be compared: its commit {where} is unknown"
    states = {"there": tags.get("git.dirty"), "here": has_uncommitted_changes()}
    changed = " and ".join(where for where, state in states.items() if state == "true")
    if then != now:
        also = f"; uncommitted changes {changed}" if changed else ""
        return f"the code differs: commit {then[:_SHOWN]} there, {now[:_SHOWN]} here{also}"
    if changed:
        return f"the code may differ: commit {now[:_SHOWN]}, uncommitted changes {changed}"
    if set(states.values()) != {"false"}:
        return "the code may differ: whether there were uncommitted changes is unknown"
    return ""


def _differing(pairs: Mapping[str, tuple[str | None, str]]) -> str:
    """Name the pairs that are not equal."""
    return "; ".join(
        f"{name} {then} there, {now} here" for name, (then, now) in pairs.items() if then != now
    )
