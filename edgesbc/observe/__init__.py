"""Metrics, the decision ledger, logs, HTTP and the control socket."""
