"""Records of what was read: plain frozen data."""
