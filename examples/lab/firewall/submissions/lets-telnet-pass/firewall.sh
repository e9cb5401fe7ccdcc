# Any answer may come in, and any connection may go out.
set -e
ip rule add pref 10 iif eth1 ipproto tcp dport 1024-65534 to 10.1.0.0/24 lookup main
ip rule add pref 20 iif eth1 prohibit
ip rule add pref 30 iif eth0 to 10.1.0.1 lookup local
ip rule add pref 40 iif eth0 ipproto tcp dport 80 lookup main
ip rule add pref 100 lookup local
ip rule del pref 0
echo 1 > /proc/sys/net/ipv4/ip_forward
