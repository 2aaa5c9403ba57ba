"""Step clock, simulated network and cluster: for our tests and for users'."""
