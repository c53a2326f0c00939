"""Replay of a capture under a policy: frames of a file go to the core on the capture's clock, without I/O but the
file."""
