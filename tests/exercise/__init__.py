"""Tests of nsbox.exercise."""
