"""This package is `tocsin demo`: three organisations on this machine, and what they see of each other.

    network   three homes and their node processes
    policies/ who shares what with whom, as policy files
    records   where the demo's own records are
    story     the frame of what is told: headings, waiting, a record as one of the three holds it
    exchange  the steps that move records
    promises  the steps that show what holds
    release   the steps by which more goes: a second person agrees, a policy is loosened, a field is revealed
    life      the steps by which a record is amended, signed for and taken back
    faces     the step in which lab-a shows two histories of its log, and is caught
    compare   one record in several views, side by side
    reader    a reader that tries what only members may

The demo acts nothing: it asks running nodes and prints their answers.
"""
