"""Tests of nsbox.diagnosis."""
