"""This package keeps the decision log: what was decided, by whom, about which record and partner, and when.

entry   one entry, and how it hangs on the one before
log     write, seal, verify; the log as a file, for whoever has no node
"""
