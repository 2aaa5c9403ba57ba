"""The public Cluster and Job."""
