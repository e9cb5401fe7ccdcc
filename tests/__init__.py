"""The tests, in folders like those of the package; those marked `pure` need no privileges and no namespaces."""
