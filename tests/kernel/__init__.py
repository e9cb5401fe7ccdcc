"""Tests that make real namespaces."""
