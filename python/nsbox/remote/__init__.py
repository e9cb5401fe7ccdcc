"""A Python inside: what is sent to it and received from it."""
