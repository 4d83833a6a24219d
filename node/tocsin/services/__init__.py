"""This package is the wire's front desk: who is calling, what they may ask, and how an error travels."""
