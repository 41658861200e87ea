"""Pure data that every other room speaks: no I/O, no Azure, no database."""
