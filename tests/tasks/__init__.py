"""Tests of nsbox.tasks."""
