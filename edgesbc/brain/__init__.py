"""All of signalling as one deterministic state machine without I/O."""
