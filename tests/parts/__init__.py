"""Real parts that tests of several rooms start and stop."""
