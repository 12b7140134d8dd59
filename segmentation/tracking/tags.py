"""A run's tags: their names, and who has said what stands in them.

What begins with `mlflow.` MLflow's pages do not show. Of a run's name and description what a person
has said stays; ours are used where nobody has.
"""

import hashlib
from collections.abc import Mapping

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from mlflow.utils.name_utils import _GENERATOR_NOUNS, _GENERATOR_PREDICATES

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

#: What a person may say of a run.
SAID = (MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE)
# Ends the names of tags with the digest of what we have said last, by which it is known as ours.
_MARK = ".petseg"


def read(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a run by their names of today, whenever it was logged."""
    former = {name: tags[old] for name, old in FORMER.items() if old in tags}
    return {**former, **tags}


def unless_said(new: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    """Return which of new tags are to be set in a run, given those that it has."""
    chosen = dict(new)
    for tag in new.keys() & SAID:
        text = there.get(tag, "")
        if not text or _is_random(text) or _digest(text) == there.get(tag + _MARK):
            chosen[tag + _MARK] = _digest(new[tag])
        else:
            del chosen[tag]
    return chosen


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_random(name: str) -> bool:
    """Tell whether MLflow has made a name, such as nosy-skunk-711, since nobody has given one."""
    words = name.split("-")
    parts = zip(words, (_GENERATOR_PREDICATES, _GENERATOR_NOUNS), strict=False)
    return len(words) == 3 and words[2].isdecimal() and all(word in some for word, some in parts)
