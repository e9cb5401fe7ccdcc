"""The tests: unit (no privileges, no namespaces) and kernel (real namespaces)."""
