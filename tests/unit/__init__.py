"""Tests that need neither privileges nor namespaces."""
