exec python3 -c "x = bytearray(1 << 40)"
