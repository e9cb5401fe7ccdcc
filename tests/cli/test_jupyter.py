"""`nsbox jupyter`: kernelspecs are checked before they are written, and only those of nsbox are removed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nsbox
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from nsbox.cli import main
from nsbox.kernel_provisioner import NsboxProvisioner, spec_from

pytestmark = pytest.mark.pure


def kernel(prefix: Path, name: str = "python3-nsbox") -> Path:
    """Return where the kernel is installed below a prefix."""
    return prefix / "share" / "jupyter" / "kernels" / name


def test_install_and_uninstall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """jupyter_client finds the kernelspec, and the provisioner that it names."""
    assert main(["jupyter", "install", "--prefix", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip().endswith(f"installed {kernel(tmp_path)}")
    spec = KernelSpecManager(kernel_dirs=[str(kernel(tmp_path).parent)]).get_kernel_spec("python3-nsbox")
    assert spec.argv[:3] == [sys.executable, "-m", "ipykernel_launcher"]
    assert spec.metadata["kernel_provisioner"] == {
        "provisioner_name": "nsbox", "config": {"unshare": "mip", "options": {"mount_proc": True}},
    }  # fmt: skip
    provisioner = KernelProvisionerFactory().create_provisioner_instance("an id", spec, parent=None)
    assert isinstance(provisioner, NsboxProvisioner)
    assert provisioner.unshare == "mip"
    assert main(["jupyter", "uninstall", "--prefix", str(tmp_path)]) == 0
    assert not kernel(tmp_path).exists()
    assert main(["jupyter", "uninstall", "--prefix", str(tmp_path)]) == 1


def test_user_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--user` uses Jupyter's data directory, for both commands."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    assert main(["jupyter", "install", "--user", "--name", "lab", "--display-name", "Lab"]) == 0
    assert json.loads((tmp_path / "kernels" / "lab" / "kernel.json").read_text())["display_name"] == "Lab"
    assert main(["jupyter", "uninstall", "--user", "--name", "lab"]) == 0
    assert os.listdir(tmp_path / "kernels") == []


def test_options(tmp_path: Path) -> None:
    """Options are passed on as JSON; a value that is not JSON is a string."""
    options = ["hostname=lab", "pid_max=400", 'rlimits={"cpu": 60}', "mount_proc=false"]
    arguments = [part for option in options for part in ("--option", option)]
    assert main(["jupyter", "install", "--prefix", str(tmp_path), "--unshare", "pid uts", *arguments]) == 0
    written = json.loads((kernel(tmp_path) / "kernel.json").read_text())
    assert written["metadata"]["kernel_provisioner"]["config"] == {
        "unshare": "pid uts",
        "options": {"hostname": "lab", "pid_max": 400, "rlimits": {"cpu": 60}, "mount_proc": False},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--unshare", "x"], "'x' in 'x' is no namespace"),
        (["--option", "hostname"], "expected NAME=VALUE"),
        (["--option", "colour=red"], "colour: is no option"),
        (["--option", "hostname=lab"], "hostname: needs a new uts namespace"),
        (["--option", "init=false"], "init: cannot be chosen here"),
        (["--name", "../lab"], "--name: '../lab'"),
        (["--name", "a b"], "--name: Invalid kernel name"),
    ],
)
def test_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Options with which no kernel could start are refused at the installation."""
    assert main(["jupyter", "install", "--prefix", str(tmp_path), *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not kernel(tmp_path).parent.exists()


def test_without_jupyter(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is missing, and how to install it."""
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    assert main(["jupyter", "install", "--prefix", str(tmp_path)]) == 1
    assert "the module ipykernel is missing" in (said := capsys.readouterr().err)
    assert "pip install 'nsbox[jupyter]'" in said


def test_foreign_kernels_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel that nsbox has not installed is not removed."""
    kernel(tmp_path, "mine").mkdir(parents=True)
    (kernel(tmp_path, "mine") / "kernel.json").write_text('{"argv": ["python"]}')
    assert main(["jupyter", "uninstall", "--prefix", str(tmp_path), "--name", "mine"]) == 1
    assert "was not installed by nsbox" in capsys.readouterr().err
    assert kernel(tmp_path, "mine").exists()


def test_mounts_as_json() -> None:
    """Each mount is an object with the arguments of its class."""
    spec = spec_from(
        "mip", {"mounts": [{"type": "tmpfs", "target": "/srv", "size": 4096}, {"type": "proc", "target": "/proc"}]}
    )
    assert spec.mounts == (nsbox.Tmpfs("/srv", size=4096), nsbox.Proc("/proc"))


@pytest.mark.parametrize(
    "mounts", ["/srv", {"type": "tmpfs"}, ["/srv"], [{"type": "nfs"}], [{"type": "tmpfs"}], [{"type": "proc", "a": 1}]]
)
def test_wrong_mounts(mounts: object) -> None:
    """The error names the wrong mount."""
    with pytest.raises(nsbox.SpecError, match="mounts"):
        spec_from("mip", {"mounts": mounts})
