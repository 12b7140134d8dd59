"""Which trials are stopped early."""

import optuna


def choose_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner | None:
    """Return a pruner for trials of so many epochs.

    Args:
        name: `median` stops a trial that is below the median of the others at the same epoch;
            `halving` lets the better half of the trials pass a quarter and then half of the
            epochs (L. Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
            2020); `none` stops none.
        epochs: of a trial.
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, epochs // 4))
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=-(-epochs // 4), reduction_factor=2
        )
    return None
