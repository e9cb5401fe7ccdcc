"""Tests of nsbox.plugin."""
