unshare -mipf
