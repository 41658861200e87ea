"""Proves the product; a package, so that no installed package called tests comes before it."""

import os

# Most tests are not about who may call, and function_app.py does not start where that is open. The tests that are about
# it run the product with AUTH_MODE=entra.
os.environ["AUTH_MODE"] = "none"
