"""The edge as several processes: the supervisor, the processes that it starts, and the links between them."""
