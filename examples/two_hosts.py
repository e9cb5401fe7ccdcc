"""Two hosts and a router between them, on this machine, as root or not: ``python examples/two_hosts.py``."""

from __future__ import annotations

import nsbox


def main() -> None:
    """Send a message from one end to the other, through the router."""
    with nsbox.Box("n") as client, nsbox.Box("n") as router, nsbox.Box("n") as server:
        near = nsbox.connect(client, router)
        far = nsbox.connect(router, server)
        print(near, far, sep="\n")

        # Each end knows the network of its cable only; the way beyond is through the router.
        client.run(["ip", "route", "add", "default", "via", near.b.address], check=True)
        server.run(["ip", "route", "add", "default", "via", far.a.address], check=True)
        # proc shows the network namespace of whoever looks.
        router.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], check=True)

        with server.socket() as listener, client.socket() as sender:
            listener.bind((far.b.address, 80))
            listener.listen()
            sender.connect((far.b.address, 80))
            connection, (peer, _) = listener.accept()
            with connection:
                sender.sendall(b"hello through the router")
                print(f"{far.b.address} hears from {peer}: {connection.recv(100).decode()}")
        print("what was done for the router:", router.steps, sep="\n")


if __name__ == "__main__":
    main()
