"""What the sources are tested with: databases full of traps, and the yardstick that tells two databases apart."""
