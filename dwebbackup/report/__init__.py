"""What is told while work goes on: log lines, progress, sizes and times in words, and never a secret."""
