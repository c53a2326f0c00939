"""Destination sets, algorithms, health and capacity leases, sans-I/O."""
