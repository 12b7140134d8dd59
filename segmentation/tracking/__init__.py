"""The only room that knows MLflow: runs, their metrics and pictures, registered models."""
