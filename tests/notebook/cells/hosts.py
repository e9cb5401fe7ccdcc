"""Two hosts: two connected boxes, and sockets in them for the kernel itself."""

# %%
import socket

import nsbox

a, b = nsbox.Box("n"), nsbox.Box("n")
with nsbox.connect(a, b) as pair:
    with b.socket() as server, a.socket() as client:
        server.bind((pair.b.address, 80))
        server.listen()
        client.connect((pair.b.address, 80))
        connection, peer = server.accept()
        connection.close()
        assert peer[0] == pair.a.address
    with b.socket(type=socket.SOCK_DGRAM) as receiver, a.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.settimeout(20)
        receiver.bind((pair.b.address, 53))
        sender.sendto(b"hello", (pair.b.address, 53))
        assert receiver.recv(10) == b"hello"

# %%
a.close()
b.close()
