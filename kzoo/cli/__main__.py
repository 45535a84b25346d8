"""`python -m kzoo.cli`: the program where it is not on the path, or not of this interpreter."""

from kzoo.cli.app import main

if __name__ == "__main__":
    main()
