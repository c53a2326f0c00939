"""Messages after RFC 4475 and RFC 5118, and some of our own, sent through the whole signalling core.

Each is written anew after the description in its section. ``python -m torture`` prints what
the edge does with them.
"""
