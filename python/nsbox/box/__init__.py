"""A living set of namespaces."""
