"""Where the guard's readings come from: one small reader for each signal."""
