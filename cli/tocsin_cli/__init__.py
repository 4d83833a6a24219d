"""This package is the `tocsin` command: what people type, and what they read.

    main      the root command, its table of commands, the last handler of errors
    command   help that starts with examples, lazy groups, options that several commands have
    session   the home, and the desk: over its socket, or by opening the home
    output    everything that is printed
    document  a response as a JSON document
    view      a record as lines for people
    commands/ one module a noun
    demo/     three organisations on this machine

Data goes to standard output and talk to standard error. The package depends
on the library, never the other way round.
"""
