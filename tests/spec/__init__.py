"""Tests of nsbox.spec."""
