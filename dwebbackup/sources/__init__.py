"""What can be backed up, and brought back: a folder or file for each kind."""
