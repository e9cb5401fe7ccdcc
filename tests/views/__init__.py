"""Tests of nsbox.views."""
