"""Side-by-side measurements of the product: ``make bench``. Not tests: nothing fails for being slow on some machine."""

import os

# Processes and modules that are measured start without tokens, unless it is tokens that are measured.
os.environ.setdefault("AUTH_MODE", "none")
