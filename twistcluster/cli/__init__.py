"""What a shell runs."""
