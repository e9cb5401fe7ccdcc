"""Tests of nsbox.start."""
