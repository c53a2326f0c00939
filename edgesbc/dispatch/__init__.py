"""Destination sets, sans-I/O: their members, the health of members, and the selection of one for each call."""
