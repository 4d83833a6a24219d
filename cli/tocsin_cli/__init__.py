"""This package is the `tocsin` command: what people type, and what they read.

    main        the root command, its table of commands, the last handler of errors
    command     help that starts with examples, lazy groups, options that several commands have
    session     whom a command asks, and as whom
    profile     a person's keys, and the node that it works with
    connection  mutual TLS to that node
    output      everything that is printed; ask: what somebody is asked before it takes effect
    document    a response as a JSON document
    view        a record as lines for people
    docket      what waits for somebody's decision, for people
    proposed    a proposed release, read from the bytes that would be sent
    proof       receipts with their pages, as they prove something to somebody who has no node
    redraft     a record as the file that somebody could have posted it from
    commands/   one module a noun
    demo/       three organisations on this machine

Data goes to standard output and talk to standard error. The package depends
on the library, never the other way round.
"""
