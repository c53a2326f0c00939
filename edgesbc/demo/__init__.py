"""An embedded PBX and the demo's callers and attackers."""
