"""The command line of unshare(1): its options, what they ask for (`request`), and what it does (`steps`)."""
