"""The filters that come with fws, one behaviour a module."""
