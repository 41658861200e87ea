"""Side-by-side measurements of the product: ``make bench``. Not tests: nothing fails for being slow on some machine."""
