"""The signalling core: the Edge state machine and its parts, without I/O."""
