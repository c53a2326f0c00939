"""A seeded network around the real Edge: callers, destinations, floods, loss and crashes, without a socket.

A seed draws everything: the user agents, what they do, and what the network does to their messages. The same
seed gives the same run, byte for byte. What has to hold in every run is in ``checks``.
"""
