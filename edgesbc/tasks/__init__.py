"""Long-lived tasks: what keeps one from ending, and the loop that accepts connections."""
