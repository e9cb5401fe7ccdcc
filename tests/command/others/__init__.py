"""Tests of `nsbox.command.others`."""
