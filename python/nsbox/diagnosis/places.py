"""Where this process runs, as far as the remedy depends on it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PLACES", "place_names"]

PLACES = {
    "gvisor": "gVisor",
    "colab": "Google Colab",
    "binder": "Binder",
    "jupyterhub": "JupyterHub",
    "github": "a GitHub Actions runner",
    "kubernetes": "Kubernetes",
    "podman": "Podman",
    "docker": "Docker",
    "container": "a container",
    "wsl1": "WSL 1",
    "wsl2": "WSL 2",
    "ubuntu": "Ubuntu",
    "rhel": "Red Hat Enterprise Linux or a relative",
    "debian": "Debian or a relative",
}
"""The places that have remedies of their own, the closest first, with their names for readers."""


def place_names() -> tuple[str, ...]:
    """Return the keys of `PLACES` that are true here, the closest first."""
    release, environ = _text("/proc/sys/kernel/osrelease").lower(), os.environ
    system = dict(line.partition("=")[::2] for line in _text("/etc/os-release").splitlines())
    family = {word.strip('"') for name in ("ID", "ID_LIKE") for word in system.get(name, "").split()}
    container = environ.get("container", "")
    holds = {
        # Newer versions of gVisor have it in the release; all versions have the same date in /proc/version.
        "gvisor": "gvisor" in release or "Sun Jan 10 15:06:54 PST 2016" in _text("/proc/version"),
        "colab": "COLAB_RELEASE_TAG" in environ,
        "binder": "BINDER_SERVICE_HOST" in environ or "BINDER_LAUNCH_HOST" in environ,
        "jupyterhub": "JUPYTERHUB_API_URL" in environ,
        "github": environ.get("GITHUB_ACTIONS") == "true",
        "kubernetes": "KUBERNETES_SERVICE_HOST" in environ,
        "podman": os.path.exists("/run/.containerenv") or container == "podman",
        "docker": os.path.exists("/.dockerenv") or container == "docker",
        "container": bool(container),
        "wsl1": "microsoft" in release and "wsl2" not in release and release.startswith("4.4."),
        "wsl2": "microsoft" in release and ("wsl2" in release or not release.startswith("4.4.")),
        "ubuntu": "ubuntu" in family,
        "rhel": bool(family & {"rhel", "centos"}),
        "debian": "debian" in family and "ubuntu" not in family,
    }
    return tuple(name for name in PLACES if holds[name])


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
