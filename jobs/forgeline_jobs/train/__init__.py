"""The kind `train`: from a spec to a trained, tracked and registered model."""
