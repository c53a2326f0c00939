"""Routing, sans-I/O: the destination sets of a request, by routes, times of day and numbers, and number rewriting."""
