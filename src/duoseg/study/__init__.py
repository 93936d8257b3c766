"""Studies: methods x label counts x seeds x folds, their results and what these say."""
