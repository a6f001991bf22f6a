"""Who did what: an append-only, hash-chained log with a signed head.

`chain` and `models` need nothing of the gateway's packages, so that anybody can check an export;
this room offers each module whole.
"""
