"""The only package that imports MLflow: runs, their metrics and pictures, registered models."""
