"""A policy change on a running edge: the active policy, apply, probation, rollback, history, backup and restore."""
