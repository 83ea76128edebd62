"""The kind `evaluate`: a registered model, measured once on held-out data."""
