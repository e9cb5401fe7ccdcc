# A firewall of routing rules (ip-rule(8)): it needs no filter in the kernel. A rule sees one packet, and no connection:
# so what comes from outside may pass only if it comes from port 80, as an answer does, and goes to a port above 1023.
set -e
ip rule add pref 10 iif eth1 ipproto tcp sport 80 dport 1024-65534 to 10.1.0.0/24 lookup main
ip rule add pref 20 iif eth1 prohibit
ip rule add pref 30 iif eth0 to 10.1.0.1 lookup local
ip rule add pref 40 iif eth0 ipproto tcp dport 80 lookup main
ip rule add pref 50 iif eth0 prohibit
# The table of the machine's own addresses comes first by default, and would let packets to the router pass.
ip rule add pref 100 lookup local
ip rule del pref 0
echo 1 > /proc/sys/net/ipv4/ip_forward
