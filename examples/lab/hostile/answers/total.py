"""The model answer: print the sum of all numbers."""

import sys

print(sum(map(int, sys.stdin.read().split())))
