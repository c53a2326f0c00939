"""The trio shell of the brain: listeners, flows and their sockets."""
