"""The trio shell of signalling: UDP, TCP, TLS and WebSocket listeners, connections, and kernel filters."""
