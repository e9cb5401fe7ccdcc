"""The options of ``docker run`` (version 28) and ``podman run`` (version 5)."""

from __future__ import annotations

from nsbox.command.options import Option

__all__ = ["DOCKER", "MEANINGLESS", "PODMAN"]

_MEANS = """
add-host= attach:a= blkio-weight= blkio-weight-device= cap-add= cap-drop= cgroup-parent= cgroupns= cpu-period=
cpu-quota= cpu-rt-period= cpu-rt-runtime= cpu-shares:c= cpus= cpuset-cpus= cpuset-mems= device= device-cgroup-rule=
device-read-bps= device-read-iops= device-write-bps= device-write-iops= dns= dns-option= dns-search= domainname=
entrypoint= env:e= env-file= gpus= group-add= hostname:h= init ip= ip6= ipc= mac-address= memory:m=
memory-reservation= memory-swap= memory-swappiness= mount= network= network-alias= oom-kill-disable oom-score-adj=
pid= pids-limit= privileged publish:p= publish-all:P read-only security-opt= shm-size= sysctl= tmpfs= tty:t ulimit=
user:u= userns= uts= volume:v= volumes-from= workdir:w= link= net=
net-alias= dns-opt= help
"""

_PODMAN_MEANS = """
cgroup-conf= cgroups= chrootdirs= env-host env-merge= gidmap= group-entry= hosts-file= init-path= no-hostname no-hosts
passwd passwd-entry= personality= pod= preserve-fd= preserve-fds= rootfs seccomp-policy= secret= shm-size-systemd=
subgidname= subuidname= systemd= timezone= timeout= tz= uidmap= umask= unsetenv= unsetenv-all hostuser= image-volume=
rdt-class= http-proxy
"""

_NO_MEANING = {
    "annotation=": "notes of the engine",
    "cidfile=": "the engine writes the id of the container there",
    "cpu-count=": "for Windows",
    "cpu-percent=": "for Windows",
    "detach:d": "the engine does not wait for the program",
    "detach-keys=": "the keys of the client that detach",
    "disable-content-trust": "about the download of the image",
    "expose=": "a note in the container's data; nothing is opened",
    "health-cmd=": "the engine starts this program in the container now and then",
    "health-interval=": "about the health check",
    "health-retries=": "about the health check",
    "health-start-interval=": "about the health check",
    "health-start-period=": "about the health check",
    "health-timeout=": "about the health check",
    "interactive:i": "the client keeps standard input open; with nsbox the program inherits it",
    "io-maxbandwidth=": "for Windows",
    "io-maxiops=": "for Windows",
    "isolation=": "for Windows",
    "kernel-memory=": "the kernel has no such limit any more",
    "label:l=": "notes of the engine",
    "label-file=": "notes of the engine",
    "link-local-ip=": "an address in a network of the engine",
    "log-driver=": "where the engine writes the output",
    "log-opt=": "where the engine writes the output",
    "name=": "how the engine names the container",
    "no-healthcheck": "about the health check",
    "platform=": "which image is downloaded",
    "pull=": "when the image is downloaded",
    "quiet:q": "what the client prints",
    "restart=": "the engine starts the program again",
    "rm": "the engine removes its data after the end; nothing of nsbox's is left in any case",
    "runtime=": "which program makes the namespaces",
    "sig-proxy": "the client forwards signals; nsbox run forwards them, too",
    "stop-signal=": "the signal of docker stop",
    "stop-timeout=": "how long docker stop waits",
    "storage-opt=": "how the engine stores the container",
    "use-api-socket": "the engine shows its socket inside",
    "volume-driver=": "how the engine stores volumes",
}
_PODMAN_NO_MEANING = {
    **dict.fromkeys(
        ("arch=", "authfile=", "cert-dir=", "creds=", "decryption-key=", "os=", "retry=", "retry-delay=", "tls-verify",
         "variant=", "signature-policy="),
        "about the download of the image",
    ),
    **dict.fromkeys(
        ("health-log-destination=", "health-max-log-count=", "health-max-log-size=", "health-on-failure=",
         "health-startup-cmd=", "health-startup-interval=", "health-startup-retries=", "health-startup-success=",
         "health-startup-timeout="),
        "about the health check",
    ),
    **dict.fromkeys(("conmon-pidfile=", "pidfile=", "pod-id-file=", "label-image"), "the engine writes files there"),
    "replace": "the engine removes a container of the same name first",
    "requires=": "the engine starts other containers first",
    "sdnotify=": "who reports to systemd that the start is complete",
}  # fmt: skip


def _option(text: str) -> Option:
    """Return an option for ``name:letter=``; one without ``=`` is true or false, and may have a value."""
    name, _, letter = text.removesuffix("=").partition(":")
    return Option(name, letter, "VALUE" if text.endswith("=") else "BOOL", optional=not text.endswith("="))


_BOTH = [_option(text) for text in (*_MEANS.split(), *_NO_MEANING)]

DOCKER = tuple(_BOTH)
PODMAN = (*_BOTH, *map(_option, (*_PODMAN_MEANS.split(), *_PODMAN_NO_MEANING)))

MEANINGLESS = {_option(text).name: why for text, why in (_NO_MEANING | _PODMAN_NO_MEANING).items()}
"""Options that concern no namespace, cgroup, mount or right, and what they do."""
