"""Which models the store keeps, and which of them nobody needs.

Looked at is only what this program has made: models of other programs in the same store are neither
counted nor touched. What may still be needed stays: models of a run that goes on, of a search that
can go on (its `keep` is what drops those), with an alias, or registered by somebody else.
"""

import dataclasses
import functools
import time
from collections.abc import Iterable, Sequence

import mlflow
from mlflow.entities import LoggedModel, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion

from segmentation.config.fields import Count
from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.artifacts import discard_unless_wanted, size_at
from segmentation.tracking.inventory.runs import every_run, has_ended_well, over_since
from segmentation.tracking.store import paginate
from segmentation.tracking.summaries.studies import PARENT
from segmentation.utils.inventory import Category, Item

Versions = frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Held:
    """A logged model.

    Attributes:
        model: as it was logged.
        run: that has logged it; None where it is gone for good.
        versions: that were registered of it, under whatever name.
    """

    model: LoggedModel
    run: MlflowRun | None
    versions: Sequence[ModelVersion]

    @property
    def study(self) -> str:
        """The id of the study that it belongs to; empty for none."""
        tags = self.run.data.tags if self.run else {}
        of_versions = [version.tags.get("study.id", "") for version in self.versions]
        return str(tags.get("study.id") or max(of_versions, default=""))

    @property
    def ours(self) -> bool:
        """Whether this program has registered all its versions, and nobody else any."""
        return all(version.tags.get("run") == self.model.source_run_id for version in self.versions)

    @property
    def names(self) -> Versions:
        """Name and number of each version."""
        return frozenset((v.name, str(v.version)) for v in self.versions)

    def thing(self, *, spare: bool) -> Item:
        """Return what there is to count, and to remove if nobody needs it."""
        named = [f"{name} version {number}" for name, number in sorted(self.names)]
        return Item(
            name=", ".join(named) or f"model of run {self.model.source_run_id}",
            size=size_at(self.model.artifact_location),
            remove=functools.partial(discard_unless_wanted, self.model, self.names)
            if spare
            else None,
        )


def model_kinds(asked: ShrinkConfig) -> list[Category]:
    """Return the models of trainings, those without a version, and those of searches."""
    # The models first: whatever has logged one of them is among the runs by then.
    models = _models()
    runs = every_run(ViewType.ALL)
    held = _held(models, runs)
    # Also where it was deleted: until MLflow collects it, it can be restored.
    parents = [run.data.tags for run in runs if run.data.tags.get("stage") == PARENT]
    going_on = {tags.get("study.id", "") for tags in parents} - {""}
    others = [one for one in held if one.study not in going_on]
    searched = Category(
        name="models of searches",
        things=[one.thing(spare=False) for one in held if one.study in going_on],
        note="the search's own command with `-P keep=3` drops those of losing trials",
    )
    return [_registered(others, asked), _forgotten(others, asked), searched]


def _registered(held: Iterable[_Held], asked: ShrinkConfig) -> Category:
    """Return the models that have a version."""
    registered = [one for one in held if one.versions]
    aliased = _aliased()
    wanted = aliased | _newest(registered, asked.versions, aliased)

    def outdated(one: _Held) -> bool:
        ended = one.run is None or one.run.info.status != "RUNNING"
        return ended and one.ours and not one.names & wanted

    return Category(
        name="versions",
        things=[one.thing(spare=outdated(one)) for one in registered],
        note="all stay"
        if asked.versions == "all"
        else f"the newest {asked.versions} of each name stay, and those with an alias",
    )


def _forgotten(held: Iterable[_Held], asked: ShrinkConfig) -> Category:
    """Return the models of which somebody has deleted the version, or that never got one."""
    before = time.time() - asked.seconds

    def unwanted(one: _Held) -> bool:
        ended = one.run is None or has_ended_well(one.run) or over_since(one.run, before)
        return asked.versions != "all" and ended

    return Category(
        name="models without a version",
        things=[one.thing(spare=unwanted(one)) for one in held if not one.versions],
        note=f"of trainings that did not end well they stay for {asked.older}",
    )


def _models() -> list[LoggedModel]:
    """Return the models that this program has logged, and none of another's."""
    client = mlflow.MlflowClient()
    experiments = paginate(lambda page: client.search_experiments(page_token=page))
    ids = [experiment.experiment_id for experiment in experiments]
    models = paginate(lambda page: client.search_logged_models(ids, page_token=page))
    return [model for model in models if model.source_run_id and "training.epochs" in model.params]


def _held(models: Iterable[LoggedModel], runs: Iterable[MlflowRun]) -> list[_Held]:
    """Put models, their runs and their versions together."""
    client = mlflow.MlflowClient()
    by_id = {run.info.run_id: run for run in runs}
    versions: dict[str, list[ModelVersion]] = {}
    for version in paginate(lambda page: client.search_model_versions("", page_token=page)):
        versions.setdefault(version.run_id or "", []).append(version)
    return [
        _Held(
            model=model,
            run=by_id.get(str(model.source_run_id)),
            versions=versions.get(str(model.source_run_id), []),
        )
        for model in models
    ]


def _aliased() -> Versions:
    """Return name and number of each version that has an alias."""
    client = mlflow.MlflowClient()
    return frozenset(
        (model.name, str(number))
        for model in paginate(lambda page: client.search_registered_models(page_token=page))
        for number in model.aliases.values()
    )


def _newest(held: Sequence[_Held], count: Count, aliased: Versions) -> Versions:
    """Return the newest versions of each name that have no alias."""
    by_name: dict[str, list[int]] = {}
    for name, number in {pair for one in held for pair in one.names} - aliased:
        by_name.setdefault(name, []).append(int(number))
    return frozenset(
        (name, str(number))
        for name, numbers in by_name.items()
        for number in sorted(numbers, reverse=True)[: None if count == "all" else count]
    )
