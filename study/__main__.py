"""`python -m study VERB`: the same as `l3study VERB`."""

from study.cli import main

if __name__ == "__main__":
    main()
