# Rules for what is forwarded. Packets to the router itself are found in the table "local" before.
ip rule add pref 10 iif eth1 ipproto tcp sport 80 dport 1024-65534 lookup main
ip rule add pref 20 iif eth1 prohibit
ip rule add pref 40 iif eth0 ipproto tcp dport 80 lookup main
ip rule add pref 50 iif eth0 prohibit
echo 1 > /proc/sys/net/ipv4/ip_forward
