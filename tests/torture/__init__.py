"""Messages after RFC 4475 and RFC 5118, and some of our own, sent through the whole signalling core.

Each is spelled anew here after the description that its section gives. ``python -m torture`` prints what
becomes of them.
"""
