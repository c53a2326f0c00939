"""Session descriptions, sans-I/O (RFC 8866, RFC 3264)."""
