"""Screening of what reaches the signalling core, sans-I/O: stages and their order, the standing of sources, bans."""
