"""Specifications: reading YAML with line numbers, overrides, units, checking, and JSON Schema.

`forgeline.spec.loading.load` is the way in. Nothing here imports torch, Ray or MLflow.
"""
