"""The pages of `docs/reference/` that are written from the code: `python -m docs.generate`.

Nothing is started and no network is needed. `tests/unit/docs` fails when a page is out of date.
"""
