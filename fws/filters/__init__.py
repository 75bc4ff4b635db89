"""The filters that come with fws, with one behaviour per module."""
