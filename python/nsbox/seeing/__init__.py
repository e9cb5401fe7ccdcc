"""Processes, namespaces, mounts and IPC objects: read and compared."""
