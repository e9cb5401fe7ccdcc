"""The capabilities that matter to nsbox, by name (capabilities(7))."""

from __future__ import annotations

__all__ = ["CAPABILITIES", "has_capability"]

CAPABILITIES = {
    "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24, "CAP_SETFCAP": 31,
}  # fmt: skip
"""Their numbers: which bit of a capability set each one is."""


def has_capability(capabilities: int, name: str) -> bool:
    """Return whether a capability is in a set."""
    return bool(capabilities >> CAPABILITIES[name] & 1)
