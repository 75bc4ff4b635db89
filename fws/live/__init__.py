"""What happens to a server while it runs: reload, and later the views of it."""
