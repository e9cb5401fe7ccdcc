"""unshare(1): its options, and its steps."""
