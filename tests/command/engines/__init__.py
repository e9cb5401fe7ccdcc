"""Tests of `nsbox.command.engines`."""
