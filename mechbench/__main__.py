"""``python -m mechbench``: the command line."""

from mechbench.cli import main

if __name__ == "__main__":
    main()
