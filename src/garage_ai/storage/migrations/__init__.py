"""Steps from one shape of the tables to the next, forward only.

A new step is a file in `versions/` that no released version has changed since; its revision goes
into `schema.HEAD`. A test compares what the steps build with `tables/`.
"""
