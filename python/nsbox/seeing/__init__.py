"""Reading processes, namespaces, mounts and IPC objects, and comparing them."""
