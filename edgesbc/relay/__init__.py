"""The relay: the loop that passes packets between the two legs of a stream, and the link by which media control has it
do so.

The loop runs in a process of its own (``__main__``), or as a thread. Nothing of trio is imported here.
"""
