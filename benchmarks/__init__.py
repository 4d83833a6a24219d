"""This package measures Tocsin next to what is known: the cost of a signature, a bare call, and what people use today.

    make bench                        everything, up to 100,000 records, in under 20 minutes
    make bench-full                   the large sizes as well; writes benchmarks/RESULTS.md and the plot
    python -m benchmarks verify log   chapters by name

A chapter is a module with a `TITLE`, an `ABOUT` and a `measure(scale, progress)`
that yields figures (`benchmarks.figures`). Each figure is a ratio of two things
that took turns in one run on one machine, with its target beside it: absolute
figures vary too much from machine to machine to mean anything.
"""
