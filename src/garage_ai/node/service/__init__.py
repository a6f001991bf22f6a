"""A node as a service of its owner: a unit for systemd's user manager."""
