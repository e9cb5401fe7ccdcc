"""What several tests share; each module is named after the one thing it brings."""
