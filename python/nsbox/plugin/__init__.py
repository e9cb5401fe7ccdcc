"""The parts of `nsbox.pytest_plugin`, imported when a test needs them."""
