"""A rig group: several PCs on one LAN that run one model together and are one node."""
