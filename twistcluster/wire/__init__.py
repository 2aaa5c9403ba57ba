"""What is said: frames, messages, pages and values. No I/O."""
