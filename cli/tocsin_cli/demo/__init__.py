"""This package is `tocsin demo`: three organisations on this machine, and what they see of each other.

network   three homes and their node processes
policies/ who shares what with whom, as policy files
records   where the demo's own records are
compare   one record in several views, side by side
story     the steps that are told
"""
