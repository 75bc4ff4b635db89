"""Tests of fws/protocols."""
