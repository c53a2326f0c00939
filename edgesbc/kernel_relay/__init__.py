"""The kernel relay: an eBPF program at the ingress of the network devices that relays packets of known flows, and the
map by which user space says which flows these are.

Everything that the program does not relay goes on to the stack of the kernel, and to the sockets of the relay.
"""
