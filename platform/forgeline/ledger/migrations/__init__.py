"""Alembic's scripts for the ledger, run by `forgeline.ledger.opening`; there is no alembic.ini."""

HEAD = "0009"
"""The schema that this version's `tables` describe."""
