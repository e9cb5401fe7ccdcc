"""Tests of nsbox.seeing."""
