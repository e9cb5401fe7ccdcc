"""Tests of nsbox.namespaces."""
