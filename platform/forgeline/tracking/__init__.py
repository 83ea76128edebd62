"""Tracking. Import from its modules: MLflow is loaded by the tracker alone, and only when it is used."""
