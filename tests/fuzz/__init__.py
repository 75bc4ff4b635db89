"""Fuzzing of the parsers for untrusted bytes: request heads, frames, TOML files, tokens, PROXY headers.

`checks` has what must hold for any bytes, `targets` has the first inputs, and `mutate` changes them. `make fuzz` runs
`__main__` with atheris, which is libFuzzer with the coverage of Python code. Property tests elsewhere use the same
checks, so that `make test` runs them too, and `test_fuzz` replays the inputs that were found.
"""
