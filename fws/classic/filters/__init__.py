"""The filters that came with the older project: importing a module adds its filters to their chains."""
