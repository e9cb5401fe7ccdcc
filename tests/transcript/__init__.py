"""Tests of nsbox.transcript."""
