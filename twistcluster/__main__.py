"""`python -m twistcluster` is the command `twistcluster`."""

from twistcluster.cli.main import main

if __name__ == "__main__":
    main()
