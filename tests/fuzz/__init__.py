"""Fuzzing of what reads strangers' bytes: request heads, frames, TOML files, tokens, PROXY headers.

`checks` says what must hold for any bytes, `seeds` where to begin, `mutate` how to go on, and `__main__` is what
`make fuzz` runs: atheris, which is libFuzzer with the coverage of Python code. Property tests elsewhere use the same
checks, so that they hold in `make test` too, and `test_fuzz` replays what was found.
"""
