"""Two hosts and a router between them, on this machine, as root or not: ``python examples/two_hosts.py``."""

from __future__ import annotations

import nsbox


def main() -> None:
    """Send a message from the client to the server, through the router."""
    with nsbox.Box("n") as client, nsbox.Box("n") as router, nsbox.Box("n") as server:
        # Each host has a route only to the network of its own cable, so the router becomes its default route.
        nsbox.connect(client, router, router=router)
        far = nsbox.connect(router, server, router=router)
        print(nsbox.networks(client=client, router=router, server=server))

        with server.socket() as listener, client.socket() as sender:
            listener.bind((far.b.address, 80))
            listener.listen()
            sender.connect((far.b.address, 80))
            connection, (peer, _) = listener.accept()
            with connection:
                sender.sendall(b"hello through the router")
                print(f"{far.b.address} received from {peer}: {connection.recv(100).decode()}")
        print("steps of the router:", router.steps, sep="\n")


if __name__ == "__main__":
    main()
