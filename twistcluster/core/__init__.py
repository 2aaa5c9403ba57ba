"""What is decided: jobs, spans, leases, contexts, placement. No I/O, no clock, no randomness of its own."""
