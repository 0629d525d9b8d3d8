"""``python -m vitsplice``."""

from vitsplice.cli import entry

if __name__ == "__main__":
    entry()
