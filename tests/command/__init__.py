"""Tests of nsbox.command."""
