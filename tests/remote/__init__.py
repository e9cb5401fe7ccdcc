"""Tests of nsbox.remote."""
