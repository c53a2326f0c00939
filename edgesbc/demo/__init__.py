"""The demo: an edge with embedded PBXs, callers and an attacker, all on loopback, and a report on what was measured."""
