"""What a search was asked to do, resolved: its name, its settings, its deadline."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from segmentation.config.search import SearchConfig
from segmentation.tracking.store import studies_folder
from segmentation.tuning.space import Space, notation
from segmentation.tuning.storage import study_location
from segmentation.workflows.session import TrainingSession
from segmentation.workflows.tune.job import SearchJob

#: May change while a study goes on: where and how it is computed, not what.
_FREE = ("data", "bad_examples", "device", "loader_workers")


def plan_search(
    search: SearchConfig, space: Space, options: Mapping[str, Any], session: TrainingSession
) -> SearchJob:
    """Name the study, and say what must not change under its name.

    Args:
        search: how the search goes.
        space: what is searched.
        options: every other setting by its parameter's name, and train's defaults.
        session: device, data and model.

    Raises:
        ConfigError: an earlier version of this program has begun the study.
    """
    digests = {name: part.digest for name, part in session.data.items()}
    settings = {
        **{name: value for name, value in options.items() if name not in _FREE},
        **notation(space),
        "trial_epochs": search.trial_epochs,
        "pruner": search.pruner,
        **{f"{name} images": digests[name][:16] for name in ("train", "val")},
    }
    name = search.study
    if name == "auto":
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        name = f"{'synthetic' if session.source.is_synthetic else 'pets'}-{digest[:8]}"
    # After how long a trial counts as lost is something that all processes must agree on.
    settings["heartbeat"] = search.heartbeat
    if search.storage != "file":
        # What one machine computes in bf16 and another in float32 is not to be compared.
        settings["precision"] = session.compute.precision
    return SearchJob(
        location=study_location(name, search.storage, studies_folder(), search.heartbeat),
        search=search,
        space=space,
        options=options,
        settings=settings,
        digests=digests,
        model_name=session.model_name,
        deadline=None if search.seconds is None else time.time() + search.seconds,
    )
