"""Linux namespaces for Python."""
