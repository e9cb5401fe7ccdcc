"""``nsbox jupyter``: a notebook kernel in namespaces of its own, for whatever starts kernels by their names."""

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
from nsbox.spec.kinds import namespace_names

__all__ = ["configure", "execute"]

_NAME = "python3-nsbox"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = actions.add_parser("install", help="write a kernelspec of this Python's ipykernel, in new namespaces")
    remove = actions.add_parser("uninstall", help="remove such a kernelspec")
    for action in (install, remove):
        places = action.add_mutually_exclusive_group()
        places.add_argument("--user", action="store_true", help="for this user, instead of the whole machine")
        places.add_argument("--prefix", metavar="DIR", help="below this directory, as of a virtual environment")
        places.add_argument(
            "--sys-prefix", action="store_const", dest="prefix", const=sys.prefix, help="in this Python's environment"
        )
        action.add_argument("--name", default=_NAME, help="the name of the kernel, by default %(default)s")
    install.add_argument("--display-name", metavar="TEXT", help="what users choose it by")
    install.add_argument("--unshare", default="mip", metavar="NAMESPACES", help="the new ones, by default %(default)s")
    install.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="a further option of nsbox.Spec, in JSON or as a word; mount_proc=true is there with a PID namespace",
    )  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Do it, and print where."""
    try:
        import ipykernel.kernelspec  # noqa: F401, PLC0415 - may be missing

        from nsbox.kernel_provisioner import spec_from  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise NsboxError(f"needs {error.name}; pip install 'nsbox[jupyter]'") from None
    if "/" in options.name:
        raise SpecError(f"--name: {options.name!r} is no name of a kernel")
    if options.action == "uninstall":
        _output.write(f"removed {_remove(options)}")
        return 0
    config: dict[str, Any] = {"unshare": options.unshare, "options": dict(map(_option, options.option))}
    if "pid" in namespace_names(options.unshare):
        config["options"].setdefault("mount_proc", True)
    spec_from(**config)
    _output.write(f"installed {_install(options, config)}")
    return 0


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"--option: expected NAME=VALUE, got {text!r}")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


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
        raise NsboxError(f"there is no kernel {options.name!r} in {directory.parent}") from None
    if metadata.get("kernel_provisioner", {}).get("provisioner_name") != "nsbox":
        raise NsboxError(f"{directory} is a kernel without nsbox, and stays")
    shutil.rmtree(directory)
    return directory
