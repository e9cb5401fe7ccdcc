"""nsenter(1): its options, and its steps."""
