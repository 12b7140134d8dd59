"""The only package that imports MLflow: the store, runs, logging, the registry, the export."""

import os

# MLflow reads these when it is imported; what a user has set stays.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
