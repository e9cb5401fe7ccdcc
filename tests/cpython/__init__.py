"""CPython's own tests of subprocess, with nsbox in its place."""
