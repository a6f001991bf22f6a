"""Whether this PC can do what its owner wants of it: facts in, findings out."""
