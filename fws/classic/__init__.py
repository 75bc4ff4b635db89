"""The Python API of the project that fws comes from, over the engine of fws: one engine, two ways in.

`filters.base` has the chains that importing a module adds to, `filters` what came with it, `server` the server of a few
lines. `docs/classic.md` tells how to move from it to TOML.
"""
