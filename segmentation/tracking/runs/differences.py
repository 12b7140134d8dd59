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
    data = {
        "train": (earlier.tags.get("data.digest", "")[:_SHOWN], tags["data.digest"][:_SHOWN]),
        "val": (earlier.val_digest[:_SHOWN], val_digest[:_SHOWN]),
    }
    machine = {
        "PyTorch": (earlier.tags.get("torch", ""), tags["torch"]),
        "device": (earlier.tags.get("device", ""), tags["device"]),
        # Behind the first word stands why, and a repeated training has it "as asked".
        "precision": (earlier.tags.get("amp", "").split(" ")[0], tags["amp"].split(" ")[0]),
        "threads": (earlier.tags.get("threads", ""), tags["threads"]),
    }
    unknown = "" if any(then for then, _ in data.values()) else "that run has no digest of it"
    lines = [
        f"the data cannot be compared: {unknown}" if unknown else "",
        _differing("the data differ: digest of ", data),
        _code(earlier.tags),
        _differing("the surroundings differ: ", machine),
    ]
    same = ["data", "code", *(name for name, (then, _) in machine.items() if then)]
    found = [line for line in lines if line] or [f"the same {', '.join(same)}"]
    return [earlier.say(line) for line in found]


def _code(tags: Mapping[str, str]) -> str:
    """Say how the code differs; nothing where it is the same."""
    then, now = tags.get("mlflow.source.git.commit"), get_git_commit(str(Path(__file__)))
    if not then or not now:
        return f"the code cannot be compared: its commit {'here' if then else 'there'} is unknown"
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


def _differing(head: str, pairs: Mapping[str, tuple[str, str]]) -> str:
    """Name the pairs that are known and not equal."""
    known = {name: (then, now) for name, (then, now) in pairs.items() if then}
    found = [
        f"{name} {then} there, {now} here" for name, (then, now) in known.items() if then != now
    ]
    return head + "; ".join(found) if found else ""
