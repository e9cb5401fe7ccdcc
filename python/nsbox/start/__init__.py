"""Programs, started in namespaces."""
