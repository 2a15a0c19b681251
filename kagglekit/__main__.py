"""`python -m kagglekit` is the command line."""

from kagglekit.cli import main

if __name__ == "__main__":
    main()
