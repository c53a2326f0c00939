"""The control socket: its protocol, its server, its client, and the commands that it serves."""
