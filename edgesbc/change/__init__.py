"""Changing the policy of a running edge: judged, kept, written, and taken back where calls fail; backup and restore."""
