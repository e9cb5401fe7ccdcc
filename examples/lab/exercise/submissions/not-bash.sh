unshare -mipf --mount-proc dash
