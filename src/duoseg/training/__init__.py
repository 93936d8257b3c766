"""One loop for all methods, the patches it feeds on, and the checkpoints it can resume from exactly."""
