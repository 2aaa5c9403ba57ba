"""How it is carried: places, endpoints, links, backpressure."""
