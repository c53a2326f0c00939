"""Which destination set a request goes to: routes, times of day, numbers and their rewriting. Without I/O."""
