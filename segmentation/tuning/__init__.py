"""The only package that imports Optuna: space, study, storage, pruners, plots, report."""
