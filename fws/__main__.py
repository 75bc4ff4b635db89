"""`fws` and `python -m fws`. Patches the standard library first: filters may use blocking calls freely."""

from gevent import monkey

monkey.patch_all()

from fws.cli import main  # noqa: E402  (whatever is imported before the patch would keep the blocking originals)

if __name__ == "__main__":
    main()
