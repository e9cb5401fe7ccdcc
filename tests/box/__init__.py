"""Tests of nsbox.box."""
