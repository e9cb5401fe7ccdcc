"""What the integration tests have in common."""

from __future__ import annotations

collect_ignore = ["projects"]  # they are run by other Pythons, with other plugins of pytest
