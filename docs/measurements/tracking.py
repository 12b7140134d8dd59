"""Measures the share of a training's wall time that MLflow takes, the final export apart.

python docs/measurements/tracking.py PATH       (in a new folder: it makes a store there)
"""

import sys
import time

from common import timed

from segmentation import pipeline
from segmentation.config import Config, DataConfig
from segmentation.devices import choose_compute
from segmentation.sources import find_source
from segmentation.tracking import models, runs
from segmentation.tracking.galleries import Gallery
from segmentation.tracking.store import connect

spent: dict[str, float] = {}


for owner, name in (
    (runs, "log_setup"),
    (runs, "log_curves"),
    (runs, "describe"),
    (runs.TrackingObserver, "on_epoch_end"),
    (runs.TrackingObserver, "on_fit_end"),
    (Gallery, "add"),
    (Gallery, "log"),
    (models, "log_model"),
    (models, "register"),
    (models, "challenge"),
    (models, "crown"),
    (models, "introduce"),
):
    timed(spent, owner, name)

config = Config(data=DataConfig(source=sys.argv[1]))
compute = choose_compute(config.training)
source = find_source(config.data.source)
timed(spent, sys.modules[__name__], "connect")
connect()
data = pipeline.load_data(config.data, source, lambda *_: None)
start = time.perf_counter()
pipeline.train_and_register(config, pipeline.Setup.of(compute, source, data, ""), [])
whole = time.perf_counter() - start
export = spent.pop("log_model")
for name, seconds in spent.items():
    print(f"{name:14} {seconds:6.2f} s")
print(
    f"tracking takes {sum(spent.values()):.2f} s of {whole - export:.1f} s, "
    f"{sum(spent.values()) / (whole - export):.1%}; the final export {export:.1f} s more"
)
