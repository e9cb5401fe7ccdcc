"""Functions, each in namespaces of its own."""
