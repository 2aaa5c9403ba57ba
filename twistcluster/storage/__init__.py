"""What is kept: values in a host's store. Must not know: jobs, links, Twisted."""
