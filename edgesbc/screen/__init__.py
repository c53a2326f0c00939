"""The gauntlet in front of the signalling core, sans-I/O: stages, their order, and what sources have proven."""
