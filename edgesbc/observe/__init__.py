"""Metrics, the decision ledger, logs and HTTP."""
