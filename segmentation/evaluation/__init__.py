"""A model on a split: scores, analysis, report, pictures."""
