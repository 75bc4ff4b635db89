"""The filters of this project. TOML files name them by module and filter, such as `chat.commands`."""
