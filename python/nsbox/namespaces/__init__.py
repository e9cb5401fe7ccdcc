"""Namespaces as things: opened, held, entered by a thread."""
