# The same with a filter that knows connections. It needs nft(8), and nf_tables in the kernel.
set -e
nft -f - <<'RULES'
table inet filter {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "eth0" tcp dport 80 accept
    }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname { "lo", "eth0" } accept
    }
}
RULES
echo 1 > /proc/sys/net/ipv4/ip_forward
