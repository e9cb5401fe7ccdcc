"""`compare` of two: the sentence that names the missing step, as root and as a user; none where all is equal."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import nsbox
import pytest
from nsbox.records.state import Mounted, State
from nsbox.views.missing_steps import differences

from tests.support.forked import USER, Who


def test_boxes(who: Who) -> None:
    """Each box lacks one step of the model, or has one too many."""

    def act() -> dict[str, list[str]]:
        found = {}
        with contextlib.ExitStack() as open_boxes:

            def box(unshare: str = "mipun", **options: Any) -> nsbox.Box:
                return open_boxes.enter_context(nsbox.Box(unshare, **options))

            whole: dict[str, Any] = {"mount_proc": True, "hostname": "lab", "loopback": True}
            model = box(**whole, mounts=[nsbox.Tmpfs("/mnt")])
            same = box(**whole, mounts=[nsbox.Tmpfs("/mnt")])
            found["same"] = list(nsbox.compare(same, model))
            found["itself"] = list(nsbox.compare(model, model))
            bare = box(loopback=False)
            found["bare"] = list(nsbox.compare(bare, model))
            found["other way round"] = list(nsbox.compare(model, bare))
            found["fewer"] = list(nsbox.compare(box("mp", mount_proc=True, mounts=[nsbox.Tmpfs("/mnt")]), model))
            found["more"] = list(nsbox.compare(box("mpiunC", loopback=False), bare))
            same.mount("none", "/mnt", "ramfs")
            same.mount("none", "/mnt", flags="remount,bind,ro")
            same.mount("none", "/opt", "tmpfs")
            same.mount("none", "/proc", "tmpfs")
            same.hostname = "mine"
            found["mounts"] = list(nsbox.compare(same, model))
            nested = model.Box("mipun", mount_proc=True, hostname="lab", loopback=True)
            open_boxes.enter_context(nested)
            found["nested"] = list(nsbox.compare(nested, model))
            found["steps"] = list(nsbox.compare(bare.plan, model.plan))
            found["equal steps"] = list(nsbox.compare(box(**whole, mounts=[nsbox.Tmpfs("/mnt")]).plan, model.plan))
        return found

    found = who(act)
    assert found["same"] == found["itself"] == found["nested"] == found["equal steps"] == []
    host = os.uname().nodename
    assert found["bare"] == [
        f"the host name is {host!r} and not 'lab': sethostname(2)",
        "the loopback interface is down: ip link set lo up",
        "no proc was mounted after the PID namespace was made: mount -t proc proc /proc",
        "nothing is mounted on /mnt: mount a tmpfs there, as the model has it",
    ]
    assert found["other way round"] == [
        f"the host name is 'lab' and not {host!r}: sethostname(2)",
        "the loopback interface is up, and that of the model is down: ip link set lo down",
        "a new proc is mounted on /proc, and in the model it is not: umount /proc",
        "a tmpfs is mounted on /mnt, where the model has no mount: umount /mnt",
    ]
    assert found["fewer"] == [
        f"there is no new {kind} namespace: unshare without --{kind} (-{letter})"
        for kind, letter in (("ipc", "i"), ("uts", "u"), ("net", "n"))
    ]
    assert found["more"] == [
        "there is a new cgroup namespace, which the model does not have: unshare with --cgroup (-C)"
    ]
    assert found["mounts"] == [
        "the host name is 'mine' and not 'lab': sethostname(2)",
        "the proc on /proc is hidden by a mount of tmpfs: umount /proc",
        "a ramfs is mounted on /mnt and not a tmpfs: the mount of the model is there, and hidden",
        "the mount on /mnt is read-only, and that of the model is not: mount -o remount,bind,rw /mnt",
        "a tmpfs is mounted on /opt, where the model has no mount: umount /opt",
    ]
    steps = "\n".join(found["steps"])
    assert "the step 'mount proc' is missing: " in steps
    assert "the step 'host name' is missing: sethostname" in steps or "sethostname" in steps
    assert "one that the model does not have" not in steps


def test_shells_and_programs(who: Who) -> None:
    """A shell beside a shell, a PID beside a PID, and a PID beside a box."""

    def act() -> dict[str, list[str]]:
        found = {}
        with contextlib.ExitStack() as kept:
            model, same, unforked = (
                kept.enter_context(nsbox.Shell("mipu", shell="/bin/sh", fork=fork)) for fork in (True, True, False)
            )
            found["same"] = list(nsbox.compare(same, model))
            found["unforked"] = list(nsbox.compare(unforked, model))
            model.run("mount -t proc none /proc; hostname lab; mount -t tmpfs none /mnt; mkdir /mnt/in", check=True)
            undone = nsbox.compare(same, model)
            found["nothing done"], found["unknown"] = list(undone), list(undone.unknown)
            same.run("mount -t proc none /proc; hostname lab; mount -t tmpfs none /mnt; mkdir /mnt/in", check=True)
            found["all done"] = list(nsbox.compare(same, model))
            same.run("mount -t tmpfs none /mnt/in; mount -t ramfs none /mnt", check=True)
            found["covered"] = list(nsbox.compare(same.pid, model.pid))
            box = kept.enter_context(nsbox.Box("mipu", mount_proc=True, hostname="lab", mounts=[nsbox.Tmpfs("/mnt")]))
            found["box and pid"] = list(nsbox.compare(model.pid, box))
            found["pid and box"] = list(nsbox.compare(box, model))

            def program(**options: Any) -> Any:
                started = nsbox.Popen(["sleep", "1000"], **options)
                kept.callback(started.wait)
                kept.callback(started.kill)
                return started

            plain = program(unshare="mip", init=False)
            found["second"] = list(nsbox.compare(program(unshare="mip"), plain))
            found["first"] = list(nsbox.compare(plain.pid, program(unshare="mip", no_new_privs=True, init=False)))
            found["shared"] = list(nsbox.compare(program(unshare="mip", init=False, propagation="shared"), plain))
            clocks = [program(unshare="miT", init=False, boottime=seconds) for seconds in (100, 200)]
            found["clocks"] = list(nsbox.compare(*clocks))
            maps = [
                program(unshare="U", init=False, **{option: True}) for option in ("map_current_user", "map_root_user")
            ]
            found["maps"] = list(nsbox.compare(*maps))
            found["outside"] = list(nsbox.compare(os.getpid(), os.getpid()))
        return found

    found = who(act)
    assert found["same"] == found["all done"] == found["box and pid"] == found["pid and box"] == found["outside"] == []
    assert found["unforked"] == [
        "the PID namespace is for the children only, as the program was not forked after the unshare: "
        "unshare without --fork (-f)"
    ]
    # A program of the caller reads the host name and the root, and the user of the tests may have no interpreter.
    assert set(found["unknown"]) <= (set() if who.is_root else {"host name", "root"})
    host_name = f"the host name is {os.uname().nodename!r} and not 'lab': sethostname(2)"
    assert found["nothing done"] == [
        *([host_name] if "host name" not in found["unknown"] else []),
        "no proc was mounted after the PID namespace was made: mount -t proc proc /proc",
        "nothing is mounted on /mnt: mount a tmpfs there, as the model has it",
    ]
    assert found["covered"] == [
        "a ramfs is mounted on /mnt and not a tmpfs: the mount of the model is there, and hidden"
    ]
    assert found["second"] == [
        "the program has PID 2 in its PID namespace and not 1: another process was started there before"
    ]
    assert found["first"] == ["no_new_privs is not set: prctl(PR_SET_NO_NEW_PRIVS, 1), or setpriv --no-new-privs"]
    assert found["shared"] == ["mounts are shared with other mount namespaces: mount --make-rprivate /"]
    assert found["clocks"] == ["the offset of the boottime clock is 100 s and not 200 s: unshare --boottime"]
    # Root is mapped to itself in both. Another user has no capabilities after the exec (capabilities(7)).
    ids = f"the user ids {USER} are mapped in the user namespace, and not 0: uid_map"
    assert found["maps"][:1] == ([] if who.is_root else [ids])


def test_those_that_have_ended_and_no_processes(who: Who) -> None:
    def act() -> list[str]:
        texts = []
        with nsbox.Box("mip") as box, nsbox.Shell("mip") as shell:
            shell.exit()
            for pair in ((shell, box), (box, shell)):
                with pytest.raises(nsbox.ProcessEndedError) as caught:
                    nsbox.compare(*pair)
                texts.append(str(caught.value).partition(":")[0])
            wrongs: list[Any] = [(box, box.plan), (box.steps, box), ("1", box), (box, "x")]
            for wrong in wrongs:
                with pytest.raises(nsbox.SpecError):
                    nsbox.compare(*wrong)
        return texts

    assert who(act) == ["box", "model"]


CASES: dict[str, tuple[State, State]] = {
    "the root of the mount namespace is that of the machine, below chroot, too: pivot_root(2)": (
        State(new_root=False), State(new_root=True),
    ),
    "the old root is still mounted: umount2(2), with MNT_DETACH": (
        State(outside=True, namespaces={"mount"}), State(outside=False, namespaces={"mount"}),
    ),
    "no user id is mapped in the user namespace: unshare without --map-root-user (-r)": (
        State(id_map=(), namespaces={"user"}), State(id_map=((0, 1),), namespaces={"user"}),
    ),
    "the user ids 0 are mapped in the user namespace, and not 0 to 9, 1000: uid_map": (
        State(id_map=((0, 1),), namespaces={"user"}), State(id_map=((0, 10), (1000, 1)), namespaces={"user"}),
    ),
    "there is no network interface veth0: ip link add, or ip link set veth0 netns": (
        State(interfaces=["lo"], namespaces={"net"}), State(interfaces=["lo", "veth0"], namespaces={"net"}),
    ),
    "the mount on /usr can be written to: mount -o remount,bind,ro /usr": (
        State(mounts={"/usr": Mounted("ext4")}, namespaces={"mount"}),
        State(mounts={"/usr": Mounted("ext4", read_only=True)}, namespaces={"mount"}),
    ),
    "there is no seccomp filter: seccomp(2)": (State(seccomp=False), State(seccomp=True)),
    "the program has CAP_SYS_ADMIN, which the model does not have: setpriv --bounding-set, capset(2)": (
        State(capabilities={"CAP_SYS_ADMIN"}), State(capabilities=set()),
    ),
    "the program is dash and not bash": (State(comm="dash"), State(comm="bash")),
}  # fmt: skip


@pytest.mark.pure
def test_a_sentence_for_each_step() -> None:
    """Each is the only one, and there is none for a state beside itself, or where a part is unknown."""
    for sentence, (seen, model) in CASES.items():
        assert differences(seen, model, exact=True) == [sentence]
        assert differences(model, seen, exact=True) != []
        assert sentence in differences(seen, model)
        for one in (seen, model):
            assert differences(one, one, exact=True) == differences(one, one) == []
            assert differences(one, State(), exact=True) == differences(State(), one, exact=True) == []
    hostile = State(mounts={"/a\x1b[2J\n": Mounted("x\ny")}, namespaces={"mount"}, comm="a\x1b")
    for text in differences(hostile, State(mounts={}, namespaces={"mount"}, comm="b")):
        assert text.isprintable()


@pytest.mark.pure
def test_what_a_lab_requires() -> None:
    """What a model requires and what is not known is a difference: no submission may pass as nothing could be read."""
    lazy = State(namespaces=set(), outside=True, new_root=False)
    assert differences(lazy, State(loopback=True)) == [
        "loopback is required, and is not known: there is no new net namespace"
    ]
    assert differences(State(namespaces={"net"}), State(loopback=True)) == ["loopback is required, and is not known"]
    assert differences(lazy, State(outside=False)) == ["the old root is still mounted: umount2(2), with MNT_DETACH"]
    seen = State(namespaces={"pid", "net"}, pid=2)
    assert differences(seen, State(namespaces={"net"}, pid=1)) == [
        "the program has PID 2 in its PID namespace and not 1: another process was started there before"
    ]
