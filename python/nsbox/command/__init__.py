"""The command lines of unshare(1) and nsenter(1): their options, what they ask for, and what they do, step by step."""
