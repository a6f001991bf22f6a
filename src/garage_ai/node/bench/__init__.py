"""How fast this PC's engine is: measured on purpose, kept, signed, compared with the last time."""
