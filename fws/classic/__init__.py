"""The Python API of the older project, on top of the engine of fws.

`filters.base` has the chains to which importing a module adds filters. `filters` has the filters that came with the
older project. `server` is the server of five lines. `docs/classic.md` explains how to move to TOML.
"""
