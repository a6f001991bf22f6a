"""A whole network in one place: NATS server, supervised processes, own CA, `gai up`."""
