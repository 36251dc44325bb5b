"""`python -m studio` is the command `tunesmith`."""

from studio.cli import main

if __name__ == "__main__":
    main()
