"""Tests of nsbox.notebook."""
