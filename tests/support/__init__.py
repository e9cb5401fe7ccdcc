"""Helpers that several tests share. Each module is named after what it provides."""
