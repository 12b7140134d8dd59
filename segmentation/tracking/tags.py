"""The names of a run's tags. What begins with `mlflow.` MLflow's pages do not show."""

from collections.abc import Mapping

#: Why a run failed, or was stopped.
FAILURE = "failure"

#: Why a trial of a search was pruned.
PRUNED = "pruned"

#: The digest of the file with the augmentation, where it is not one of ours.
AUGMENTATION = "augment.digest"

# What is for this program alone.
_HIDDEN = "mlflow.petseg."
#: The parameters of a training, by their names, as JSON.
SETTINGS = f"{_HIDDEN}settings"
#: The name of a training of several processes, by which they find it again.
GROUP = f"{_HIDDEN}group"
#: The id of the study that a trial, a confirmation or their parent is of.
STUDY_ID = f"{_HIDDEN}study.id"
#: The process that writes the run, and when it was last heard of.
HOST, PID, STARTED, SEEN = (
    f"{_HIDDEN}process.{name}" for name in ("host", "id", "started", "seen")
)
#: When the first step of a training began and the last one ended, in seconds since 1970.
FIRST_STEP, LAST_STEP = f"{_HIDDEN}time.first_step", f"{_HIDDEN}time.last_step"

#: What earlier versions of this program called those of them that are read.
FORMER = {name: name.removeprefix(_HIDDEN) for name in (SETTINGS, HOST, PID, STARTED, SEEN)}


def read(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a run by their names of today, whenever it was logged."""
    former = {name: tags[old] for name, old in FORMER.items() if old in tags}
    return {**former, **tags}
