"""Every run draws the same examples; `make fuzz` draws others, and prints how to see a failure again."""

import os

from hypothesis import settings

# Or each process that a test starts would compile the code anew, which takes it longer than anything else.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", database=None, deadline=None, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("TOCSIN_FUZZ") else "fixed")
