"""What was read, as plain frozen data."""
