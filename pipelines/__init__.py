"""The filters of this project: each module here is a name in the TOML files of conf/ (`chat.commands`)."""
