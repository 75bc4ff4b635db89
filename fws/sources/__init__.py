"""The sources that come with fws, one in each module."""
