"""A capture judged by a policy: frames from a file to the core on the capture's own clock. No sockets, no tasks."""
