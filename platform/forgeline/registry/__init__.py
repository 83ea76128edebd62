"""The model registry. Import from its modules: a listing must not pay for MLflow."""
