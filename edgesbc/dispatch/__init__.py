"""Destination sets: who may take a call, who is alive, and who is next. Sends nothing and reads no clock."""
