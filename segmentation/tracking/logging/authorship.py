"""A run's name and description: what a person has said stays, ours are used where nobody has."""

import hashlib
from collections.abc import Mapping

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from mlflow.utils.name_utils import _GENERATOR_NOUNS, _GENERATOR_PREDICATES

#: The tags that hold them.
SAID = (MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE)
# Ends the names of tags with the digest of what we have said last, by which it is known as ours.
# MLflow's UI shows no tag whose name begins with `mlflow.`.
_MARK = ".petseg"


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
