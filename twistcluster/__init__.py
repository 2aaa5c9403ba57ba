"""A cluster for notebooks: map and submit from a cell, see results while they come."""
