"""Metrics, the decision ledger, logs and the HTTP endpoints."""
