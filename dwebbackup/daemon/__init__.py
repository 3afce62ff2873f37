"""The sidecar: one process that waits for databases, restores empty ones, backs up on schedule, and tells how it is."""
