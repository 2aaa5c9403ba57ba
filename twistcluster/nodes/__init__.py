"""What runs: scheduler, worker, slot, local cluster."""
