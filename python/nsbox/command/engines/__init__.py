"""Command lines of container engines: ``docker run`` and ``podman run``."""
