"""The commands of `python -m fastbp`, a module each: `add_to(commands)` describes its options, `run(options)` does it.

`run` returns the exit code. What imports numba is imported in the functions that need it, so that --help and a mistyped option
answer at once.
"""

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
