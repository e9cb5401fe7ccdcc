"""Tests of nsbox.cli."""
