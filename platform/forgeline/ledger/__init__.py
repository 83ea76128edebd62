"""The run ledger. Import from its modules: a listing must not pay for what it does not use."""
