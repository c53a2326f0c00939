"""Kernel help for sockets: classic BPF programs, built as values."""
