"""`python -m nsbox`: the command line."""

from nsbox.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
