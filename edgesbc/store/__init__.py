"""SQL: what must outlive a process."""
