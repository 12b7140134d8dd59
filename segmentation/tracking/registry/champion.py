"""Aliases: who challenges, who is champion, and why."""

import mlflow

from segmentation.evaluation.promotion_rule import Decision
from segmentation.tracking.registry.versions import VersionRef, read_note, write_note
from segmentation.tracking.runs.run import Run
from segmentation.tracking.store import store_lock

_CHAMPION, _CHALLENGER = "champion", "challenger"
_NOTE = "**Promotion.**"


def challenge_if_newest(ref: VersionRef) -> None:
    """Give a version the alias `challenger`, unless a newer one has it: this may come late."""
    client = mlflow.MlflowClient()
    if int(client.get_registered_model(ref.name).aliases.get(_CHALLENGER, 0)) <= int(ref.version):
        client.set_registered_model_alias(ref.name, _CHALLENGER, ref.version)


def champion_of(name: str) -> str | None:
    """Return the version that is champion, if any."""
    version = mlflow.MlflowClient().get_registered_model(name).aliases.get(_CHAMPION)
    return None if version is None else str(version)


def record_decision(
    challenger: VersionRef, champion: str | None, decision: Decision, run: Run
) -> bool:
    """Write a decision on a version and its run, and move the alias if it says so.

    The alias moves last: whoever is killed on the way can decide again. Nothing is done, and False
    returned, if another version than `champion`, if any, has become so in the meantime.
    """
    client = mlflow.MlflowClient()
    name, version = challenger.name, challenger.version
    with store_lock(mlflow.get_tracking_uri()):
        if champion_of(name) != champion:
            return False
        run.log_decision(decision)
        write_note(challenger, _NOTE, decision.reason)  # no champion is to be without a reason
        if (p_value := decision.metrics.get("gate/p_value")) is not None:
            client.set_model_version_tag(name, version, "promotion.p_value", f"{p_value:.4f}")
        word = _CHAMPION if decision.promoted else f"not {_CHAMPION}"
        client.set_model_version_tag(name, version, "promotion", word)
        if decision.promoted:
            client.set_registered_model_alias(name, _CHAMPION, version)
    return True


def recorded_decision(ref: VersionRef) -> str | None:
    """Return the decision on a version in words; None where `record_decision` did not end."""
    known = ref.look_up()
    word = known.tags.get("promotion")
    if word is None or (word == _CHAMPION and _CHAMPION not in known.aliases):
        return None
    return read_note(ref, _NOTE)
