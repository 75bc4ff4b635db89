"""The program `fws`, also `python -m fws`. It patches the standard library first, so that filters may use blocking
calls.
"""

from gevent import monkey

monkey.patch_all()

from fws.cli import main  # noqa: E402  (whatever is imported before the patch would keep the blocking originals)

if __name__ == "__main__":
    main()
