"""Command lines of other programs that start something in namespaces: ip(8), systemd-run(1), sudo(8)."""
