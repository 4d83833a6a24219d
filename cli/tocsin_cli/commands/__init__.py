"""This package holds the commands, one module a noun: each reads its options, asks, and prints."""
