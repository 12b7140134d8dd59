"""The only room that knows Optuna: the space of a search, its storage, its trials, its plots."""
