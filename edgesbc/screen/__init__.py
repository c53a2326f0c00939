"""The gauntlet in front of the brain, sans-I/O: stages, their order, and what sources have proven."""
