"""Tests of nsbox.records."""
