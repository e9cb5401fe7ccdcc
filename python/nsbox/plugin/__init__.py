"""What nsbox.pytest_plugin does."""
