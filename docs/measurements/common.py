"""What several of these scripts need."""

import functools
import time
from collections.abc import Callable
from typing import Any

from segmentation.config.search import SearchConfig
from segmentation.config.training import Config, searchable
from segmentation.data.sources import resolve_source
from segmentation.runtime.device import choose_compute
from segmentation.tuning.space import parse
from segmentation.workflows.session import TrainingSession, load_data
from segmentation.workflows.tune.plan import SearchPlan


def timed(spent: dict[str, float], owner: Any, name: str, key: str = "") -> None:
    """Have `owner.name` add the seconds that it takes to `spent`, under `key` or its name."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[key or name] = spent.get(key or name, 0.0) + time.perf_counter() - start

    setattr(owner, name, wrapped)


def default_search(data: str) -> Callable[[SearchConfig], SearchPlan]:
    """Read the images of the folder `data`; return what makes a search of the default space."""
    options = Config.from_options({"data": data}).options()
    _, space = parse({one.option: "" for one in searchable()})
    config, source = Config.from_options(options), resolve_source(data)
    splits = load_data(config.data, source, lambda done, total: None)
    setup = TrainingSession.of(choose_compute(config.training), source, splits, "")

    def make(asked: SearchConfig) -> SearchPlan:
        return SearchPlan(
            asked=asked, space=space, options=options, setup=setup, began=time.time(), typed={}
        )

    return make
