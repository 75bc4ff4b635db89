"""The filters of the older project. Importing a module adds its filters to their chains."""
