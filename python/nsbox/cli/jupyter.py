"""``nsbox jupyter``: install a Jupyter kernel that runs in new namespaces; programs start it by its name."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from nsbox.cli import _output
from nsbox.errors import NsboxError, SpecError
from nsbox.spec.from_text import pair_from
from nsbox.spec.kinds import namespace_names

__all__ = ["configure", "execute"]

_NAME = "python3-nsbox"
_INSTALL = "install a kernel: the ipykernel of this Python, in new namespaces"
_UNINSTALL = "remove a kernel that was installed by nsbox jupyter"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = actions.add_parser("install", help=_INSTALL, description=_INSTALL)
    remove = actions.add_parser("uninstall", help=_UNINSTALL, description=_UNINSTALL)
    for action in (install, remove):
        places = action.add_mutually_exclusive_group()
        places.add_argument("--user", action="store_true", help="only for this user, not for all users")
        places.add_argument("--prefix", metavar="DIR", help="below this directory, for example a virtual environment")
        places.add_argument(
            "--sys-prefix",
            action="store_const",
            dest="prefix",
            const=sys.prefix,
            help="in the environment of this Python",
        )
        action.add_argument("--name", default=_NAME, help="the name of the kernel; default: %(default)s")
    install.add_argument("--display-name", metavar="TEXT", help="the name that users see")
    install.add_argument(
        "--unshare", default="mip", metavar="NAMESPACES", help="the new namespaces; default: %(default)s"
    )
    install.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="an option of nsbox.Spec, its value in JSON or plain; with a PID namespace mount_proc=true is the default",
    )  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Install or remove the kernel and print its directory; return the exit status."""
    try:
        import ipykernel.kernelspec  # noqa: F401, PLC0415 - an optional dependency

        from nsbox.kernel_provisioner import spec_from  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise NsboxError(f"the module {error.name} is missing\nnext: pip install 'nsbox[jupyter]'") from None
    if "/" in options.name:
        raise SpecError(f"--name: {options.name!r} cannot be the name of a kernel: it has a slash")
    if options.action == "uninstall":
        _output.write(f"removed {_remove(options)}")
        return 0
    config: dict[str, Any] = {"unshare": options.unshare, "options": dict(map(pair_from, options.option))}
    if "pid" in namespace_names(options.unshare):
        config["options"].setdefault("mount_proc", True)
    spec_from(**config)
    _output.write(f"installed {_install(options, config)}")
    return 0


def _install(options: argparse.Namespace, config: dict[str, Any]) -> Path:
    from ipykernel.kernelspec import get_kernel_dict, write_kernel_spec  # noqa: PLC0415 - only for this
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415

    display = options.display_name or f"Python 3 (nsbox: {', '.join(namespace_names(options.unshare)) or 'none'})"
    provisioner = {"provisioner_name": "nsbox", "config": config}
    plain = get_kernel_dict()
    overrides = {"display_name": display, "metadata": plain["metadata"] | {"kernel_provisioner": provisioner}}
    with tempfile.TemporaryDirectory() as directory:
        source = write_kernel_spec(Path(directory) / "spec", overrides)
        try:
            place = KernelSpecManager().install_kernel_spec(
                source, options.name, user=options.user, prefix=options.prefix
            )
        except ValueError as error:
            raise SpecError(f"--name: {error}") from None
    return Path(place)


def _remove(options: argparse.Namespace) -> Path:
    from jupyter_core.paths import SYSTEM_JUPYTER_PATH, jupyter_data_dir  # noqa: PLC0415 - only for this

    if options.user:
        place = Path(jupyter_data_dir())
    elif options.prefix:
        place = Path(options.prefix).absolute() / "share" / "jupyter"
    else:
        place = Path(SYSTEM_JUPYTER_PATH[0])
    directory: Path = place / "kernels" / options.name.lower()
    try:
        metadata = json.loads((directory / "kernel.json").read_text()).get("metadata", {})
    except FileNotFoundError:
        raise NsboxError(f"no kernel {options.name!r} in {directory.parent}\nnext: jupyter kernelspec list") from None
    if metadata.get("kernel_provisioner", {}).get("provisioner_name") != "nsbox":
        raise NsboxError(f"not removed: the kernel in {directory} was not installed by nsbox")
    shutil.rmtree(directory)
    return directory
