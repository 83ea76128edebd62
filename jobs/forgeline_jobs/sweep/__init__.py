"""The kind `sweep`: hyperparameter search over any train spec, whose every step is written down before it is taken."""
