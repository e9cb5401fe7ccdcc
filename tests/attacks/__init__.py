"""Ways out, and what undoes a protection: each was possible once."""
